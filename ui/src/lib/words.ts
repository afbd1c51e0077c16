/** Splits a command line into words as a POSIX shell does, without any expansion. Null when a quote is not closed. */
export function splitWords(line: string): string[] | null {
  const words: string[] = [];
  let word: string | null = null;
  let index = 0;
  while (index < line.length) {
    const char = line.charAt(index);
    if (/\s/.test(char)) {
      if (word !== null) words.push(word);
      word = null;
      index += 1;
    } else if (char === "'" || char === '"') {
      const quoted = readQuoted(line, index);
      if (!quoted) return null;
      word = (word ?? '') + quoted.text;
      index = quoted.end;
    } else if (char === '\\') {
      if (index + 1 >= line.length) return null;
      word = (word ?? '') + line.charAt(index + 1);
      index += 2;
    } else {
      word = (word ?? '') + char;
      index += 1;
    }
  }
  if (word !== null) words.push(word);
  return words;
}

function readQuoted(line: string, start: number): { text: string; end: number } | null {
  const quote = line.charAt(start);
  let text = '';
  for (let index = start + 1; index < line.length; index += 1) {
    const char = line.charAt(index);
    if (char === quote) return { text, end: index + 1 };
    const escaped = quote === '"' && char === '\\' && '"\\$`'.includes(line.charAt(index + 1) || ' ');
    if (escaped) index += 1;
    text += escaped ? line.charAt(index) : char;
  }
  return null;
}

/** The inverse of splitWords. */
export function joinWords(words: readonly string[]): string {
  return words
    .map((word) => (/^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`))
    .join(' ');
}
