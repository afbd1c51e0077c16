import { createElement } from 'react';
import { renderToStaticMarkup } from 'react-dom/server';
import { expect, it } from 'vitest';
import { Markdown } from './Markdown.tsx';

const html = (text: string) => renderToStaticMarkup(createElement(Markdown, { text }));

it('shows headings, lists, code and emphasis', () => {
  const shown = html('# Report\n\nRuns *nightly*, **always**.\n\n- one\n- two\n\n```sh\nls\n```\n');
  for (const tag of ['<h1', '<em>nightly</em>', '<strong>always</strong>', '<li>one</li>', '<code']) {
    expect(shown).toContain(tag);
  }
});

it('opens links beside the page', () => {
  const shown = html('[run book](https://example.org/book)');
  expect(shown).toContain('href="https://example.org/book"');
  expect(shown).toContain('rel="noreferrer noopener"');
});

it.each([
  '<script>alert(1)</script>',
  '<img src=x onerror=alert(1)>',
  '<a href="javascript:alert(1)">x</a>',
  '<iframe src="/tasks"></iframe>',
  '<svg/onload=alert(1)>',
  '<b onclick="alert(1)">x',
  '<style>body{display:none}</style>',
])('takes HTML for text: %s', (text) => {
  expect(html(text)).not.toMatch(/<(script|img|a |iframe|svg|b |b>|style)/i);
  expect(html(`# Title\n\n${text}\n\nmore ${text}`)).not.toMatch(/<(script|img|a |iframe|svg|b |b>|style)/i);
});

it.each([
  '[x](javascript:alert(1))',
  '[x](JaVaScRiPt:alert(1))',
  '[x](java&#115;cript:alert(1))',
  '[x](vbscript:x)',
  '[x](data:text/html;base64,PHNjcmlwdD4=)',
  '[x][1]\n\n[1]: javascript:alert(1)',
  '<javascript:alert(1)>',
])('leads nowhere where a link would run something: %s', (text) => {
  expect(html(text)).not.toMatch(/href="\s*(javascript|vbscript|data):/i);
});

it('fetches no pictures', () => {
  const shown = html('![a chart](https://example.org/pixel.png)');
  expect(shown).not.toContain('<img');
  expect(shown).toContain('a chart');
});
