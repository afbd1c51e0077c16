/** A run of characters that look the same. Colours are "0" to "255" of the terminal palette or "#rrggbb". */
export interface Span {
  text: string;
  fg?: string;
  bg?: string;
  bold?: boolean;
  dim?: boolean;
  italic?: boolean;
  underline?: boolean;
  strike?: boolean;
}

type Style = Omit<Span, 'text'> & { inverse?: boolean };

// ECMA-48 control sequences (CSI), operating system commands (OSC), and the other escapes of two characters.
const CONTROL =
  /\x1b\[([0-9;:?<=>]*)([ -/]*)([@-~])|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\|$)|\x1b[()*+][0-9A-Za-z]|\x1b[ -~]?|\x9b/g;

/** Lines of styled spans. Understands SGR (colours and attributes) and carriage returns; other controls are dropped. */
export function parseAnsi(text: string): Span[][] {
  const lines: Span[][] = [];
  let style: Style = {};
  for (const raw of text.replaceAll('\r\n', '\n').split('\n')) {
    const parsed = parseLine(raw, style);
    lines.push(parsed.spans);
    style = parsed.style;
  }
  if (lines.at(-1)?.length === 0) lines.pop();
  return lines;
}

function parseLine(line: string, before: Style): { spans: Span[]; style: Style } {
  let style = before;
  let spans: Span[] = [];
  let restart = false;
  const put = (chunk: string) => {
    for (const [index, part] of chunk.split('\r').entries()) {
      if (index > 0) restart = true;
      const shown = part.replace(/[\x00-\x08\x0b-\x1f\x7f]/g, '');
      if (!shown) continue;
      if (restart) spans = [];
      restart = false;
      spans.push({ text: shown, ...visible(style) });
    }
  };
  let end = 0;
  for (const match of line.matchAll(CONTROL)) {
    put(line.slice(end, match.index));
    end = match.index + match[0].length;
    if (match[3] === 'm' && !match[2]) style = applySgr(style, match[1] ?? '');
  }
  put(line.slice(end));
  return { spans, style };
}

function visible({ inverse, ...style }: Style): Omit<Span, 'text'> {
  if (!inverse) return style;
  return { ...style, fg: style.bg ?? '0', bg: style.fg ?? '7' };
}

function applySgr(before: Style, parameters: string): Style {
  const codes = parameters.split(/[;:]/).map((part) => Number(part || 0));
  let style = { ...before };
  for (let index = 0; index < codes.length; index += 1) {
    const code = codes[index] ?? 0;
    if (code === 38 || code === 48) {
      const [colour, used] = extendedColour(codes.slice(index + 1));
      index += used;
      if (colour !== undefined) style[code === 38 ? 'fg' : 'bg'] = colour;
    } else {
      style = applyCode(style, code);
    }
  }
  return style;
}

function extendedColour([kind, ...rest]: number[]): [string | undefined, number] {
  if (kind === 5) return [rest[0] !== undefined && rest[0] < 256 ? String(rest[0]) : undefined, 2];
  if (kind !== 2) return [undefined, 1];
  const parts = rest.slice(0, 3);
  const valid = parts.length === 3 && parts.every((part) => part < 256);
  return [valid ? `#${parts.map((part) => part.toString(16).padStart(2, '0')).join('')}` : undefined, 4];
}

const ON: Record<number, keyof Omit<Style, 'fg' | 'bg'>> = {
  1: 'bold',
  2: 'dim',
  3: 'italic',
  4: 'underline',
  7: 'inverse',
  9: 'strike',
};
const OFF: Record<number, (keyof Style)[]> = {
  22: ['bold', 'dim'],
  23: ['italic'],
  24: ['underline'],
  27: ['inverse'],
  29: ['strike'],
  39: ['fg'],
  49: ['bg'],
};

function applyCode(style: Style, code: number): Style {
  if (code === 0) return {};
  const on = ON[code];
  if (on) return { ...style, [on]: true };
  const off = OFF[code];
  if (off) return Object.fromEntries(Object.entries(style).filter(([key]) => !off.includes(key as keyof Style)));
  if (code >= 30 && code <= 37) return { ...style, fg: String(code - 30) };
  if (code >= 40 && code <= 47) return { ...style, bg: String(code - 40) };
  if (code >= 90 && code <= 97) return { ...style, fg: String(code - 82) };
  if (code >= 100 && code <= 107) return { ...style, bg: String(code - 92) };
  return style;
}

const BASE = [
  ...['#5c6370', '#f47067', '#6bc46d', '#daaa3f', '#6cb6ff', '#dcbdfb', '#56d4dd', '#c9d1d9'],
  ...['#8b949e', '#ff938a', '#8ddb8c', '#eac55f', '#96d0ff', '#ebdbff', '#9ae5ec', '#ffffff'],
];

/** CSS colour of a span's colour; the first sixteen are chosen to be readable on the dark output pane. */
export function cssColour(colour: string): string {
  if (colour.startsWith('#')) return colour;
  const index = Number(colour);
  if (index < 16) return BASE[index] ?? '#c9d1d9';
  if (index >= 232)
    return `rgb(${Array(3)
      .fill(8 + (index - 232) * 10)
      .join(' ')})`;
  const level = (step: number) => (step === 0 ? 0 : 55 + step * 40);
  const cube = index - 16;
  return `rgb(${[Math.floor(cube / 36), Math.floor(cube / 6) % 6, cube % 6].map(level).join(' ')})`;
}

/** Lines as text alone. */
export function plainText(lines: readonly Span[][]): string {
  return lines.map((line) => line.map(({ text }) => text).join('')).join('\n');
}
