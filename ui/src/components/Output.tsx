import { Button, Checkbox, Group, Text } from '@mantine/core';
import { useEffect, useMemo, useRef, useState, type CSSProperties } from 'react';
import { cssColour, parseAnsi, plainText, type Span } from '../lib/ansi.ts';
import { copyText } from '../lib/copy.ts';
import { formatBytes, formatCount } from '../lib/duration.ts';

interface Props {
  text: string;
  /** Bytes of the output that are not kept. */
  truncatedBytes: number;
  running: boolean;
  /** Where all of it that is stored can be had as a file, and what the file is called. */
  file?: { path: string; name: string };
  /** In place of the number of lines. */
  note?: string | undefined;
}

/** Lines that are drawn unless all are asked for. */
const SHOWN_LINES = 2000;

/** What an execution wrote, with its colours; follows the end while it grows. */
export function Output({ text, truncatedBytes, running, note, file }: Props) {
  const lines = useMemo(() => parseAnsi(text), [text]);
  const [follow, setFollow] = useState(true);
  const [all, setAll] = useState(false);
  const [copied, setCopied] = useState('');
  useEffect(() => {
    if (!copied) return undefined;
    const timer = setTimeout(() => {
      setCopied('');
    }, 2000);
    return () => {
      clearTimeout(timer);
    };
  }, [copied]);
  const hidden = all ? 0 : Math.max(0, lines.length - SHOWN_LINES);
  const pane = useRef<HTMLPreElement>(null);
  useEffect(() => {
    if (follow && pane.current) pane.current.scrollTop = pane.current.scrollHeight;
  }, [follow, lines]);
  return (
    <>
      <Group justify="space-between" mb={6}>
        <Text size="xs" c="dimmed">
          {truncatedBytes > 0
            ? `${formatBytes(truncatedBytes)} of it are not kept.`
            : (note ?? `${formatCount(lines.length)} ${lines.length === 1 ? 'line' : 'lines'}`)}
          {hidden ? `, the last ${formatCount(SHOWN_LINES)} shown` : ''}
          {running ? ' · still running' : ''}
        </Text>
        {hidden ? (
          <Button
            variant="default"
            onClick={() => {
              setAll(true);
            }}
          >
            Show all
          </Button>
        ) : null}
        {lines.length ? (
          <Group gap="xs">
            <Button
              variant="default"
              onClick={() => {
                void copyText(plainText(lines)).then((done) => {
                  setCopied(done ? 'Copied' : 'The browser does not allow it');
                });
              }}
            >
              {copied || 'Copy'}
            </Button>
            {file ? (
              <Button variant="default" component="a" href={file.path} download={file.name}>
                Download
              </Button>
            ) : null}
          </Group>
        ) : null}
        {running ? (
          <Checkbox
            size="xs"
            label="Follow the end"
            checked={follow}
            onChange={(event) => {
              setFollow(event.currentTarget.checked);
            }}
          />
        ) : null}
      </Group>
      <pre className="output" ref={pane} tabIndex={0} role="log" aria-label="Output">
        {lines.length ? (
          lines
            .slice(hidden)
            .map((line, index) => (
              <div key={hidden + index}>
                {line.length ? line.map((span, at) => <Styled key={at} span={span} />) : ' '}
              </div>
            ))
        ) : (
          <span style={{ color: '#98a3b1' }}>{running ? 'Nothing written yet' : 'Nothing was written'}</span>
        )}
      </pre>
    </>
  );
}

function Styled({ span }: { span: Span }) {
  const style: CSSProperties = {
    ...(span.fg ? { color: cssColour(span.fg) } : {}),
    ...(span.bg ? { backgroundColor: cssColour(span.bg) } : {}),
    ...(span.bold ? { fontWeight: 700 } : {}),
    ...(span.dim ? { opacity: 0.75 } : {}),
    ...(span.italic ? { fontStyle: 'italic' } : {}),
    ...(span.underline || span.strike
      ? { textDecoration: [span.underline && 'underline', span.strike && 'line-through'].filter(Boolean).join(' ') }
      : {}),
  };
  return <span style={style}>{span.text}</span>;
}
