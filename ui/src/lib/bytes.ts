/** Bytes of the API travel as base64. */
export function fromBase64(text: string | undefined): Uint8Array {
  const binary = atob((text ?? '').replaceAll('-', '+').replaceAll('_', '/'));
  return Uint8Array.from(binary, (char) => char.charCodeAt(0));
}

/** Base64 of a text in UTF-8. */
export function toBase64(text: string): string {
  let binary = '';
  for (const byte of new TextEncoder().encode(text)) binary += String.fromCharCode(byte);
  return btoa(binary);
}

/** The text of base64 bytes; null when they are not UTF-8. */
export function utf8OrNull(text: string | undefined): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(fromBase64(text));
  } catch {
    return null;
  }
}

/** The text of base64 bytes, with replacement characters for what is not UTF-8. */
export function lossyUtf8(text: string | undefined): string {
  return new TextDecoder().decode(fromBase64(text));
}
