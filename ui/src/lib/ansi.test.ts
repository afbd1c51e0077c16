import { describe, expect, it } from 'vitest';
import { cssColour, parseAnsi, plainText } from './ansi.ts';

const ESC = '\u001b';
const plain = (text: string) => parseAnsi(text).map((line) => line.map((span) => span.text).join(''));

describe('output with control sequences', () => {
  it('gets its colours and loses the sequences', () => {
    expect(parseAnsi(`${ESC}[32mok${ESC}[0m done`)).toEqual([[{ text: 'ok', fg: '2' }, { text: ' done' }]]);
  });

  it('keeps a colour over the end of a line', () => {
    expect(parseAnsi(`${ESC}[1;31ma\nb${ESC}[22mc`)).toEqual([
      [{ text: 'a', bold: true, fg: '1' }],
      [
        { text: 'b', bold: true, fg: '1' },
        { text: 'c', fg: '1' },
      ],
    ]);
  });

  it('reads bright, indexed and direct colours', () => {
    expect(parseAnsi(`${ESC}[91ma${ESC}[48;5;208mb${ESC}[38;2;1;2;255mc`)[0]).toEqual([
      { text: 'a', fg: '9' },
      { text: 'b', fg: '9', bg: '208' },
      { text: 'c', fg: '#0102ff', bg: '208' },
    ]);
  });

  it('swaps the colours of inverse text', () => {
    expect(parseAnsi(`${ESC}[7;32mx${ESC}[27my`)[0]).toEqual([
      { text: 'x', fg: '0', bg: '2' },
      { text: 'y', fg: '2' },
    ]);
  });

  it('ignores colours out of range and sequences that are cut off', () => {
    expect(parseAnsi(`${ESC}[38;5;999mx`)).toEqual([[{ text: 'x' }]]);
    expect(plain(`a${ESC}[3`)).toEqual(['a3']);
    expect(plain(`a${ESC}`)).toEqual(['a']);
  });

  it('drops cursor movement, titles and other controls', () => {
    expect(plain(`${ESC}[2J${ESC}[1;1H${ESC}]0;title\u0007a\u0008b\u0000c`)).toEqual(['abc']);
  });

  it('shows what a carriage return leaves of a line', () => {
    expect(plain('10 %\r50 %\r100 %\nnext\r\n')).toEqual(['100 %', 'next']);
  });

  it('keeps empty lines and drops the one after the last line feed', () => {
    expect(plain('a\n\nb\n')).toEqual(['a', '', 'b']);
    expect(plain('')).toEqual([]);
  });
});

it('turns palette colours into CSS', () => {
  expect(cssColour('#0102ff')).toBe('#0102ff');
  expect(cssColour('208')).toBe('rgb(255 135 0)');
  expect(cssColour('16')).toBe('rgb(0 0 0)');
  expect(cssColour('255')).toBe('rgb(238 238 238)');
});

it('gives the text alone', () => {
  expect(plainText(parseAnsi('\u001b[31mred\u001b[0m one\ntwo'))).toBe('red one\ntwo');
});
