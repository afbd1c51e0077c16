/** Words of a search that can stand in a text: its operators, fields and quotes are left out. */
export function searchedWords(query: string): string[] {
  const withoutNegated = query.replace(/\bNOT\s+("[^"]*"|\S+)/g, ' ').replace(/\b(error|output):/g, ' ');
  const words = withoutNegated.match(/[\p{L}\p{N}_]+/gu) ?? [];
  return [...new Set(words.filter((word) => !['AND', 'OR', 'NOT'].includes(word)).map((word) => word.toLowerCase()))];
}

/** A text in parts, those that a search looked for marked. */
export function highlight(text: string, query: string): { text: string; hit: boolean }[] {
  const words = searchedWords(query);
  if (words.length === 0) return [{ text, hit: false }];
  const longestFirst = words.toSorted((a, b) => b.length - a.length).join('|');
  return text
    .split(new RegExp(`(${longestFirst})`, 'giu'))
    .map((part, index) => ({ text: part, hit: index % 2 === 1 }))
    .filter((part) => part.text !== '');
}
