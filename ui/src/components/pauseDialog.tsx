import { Button, Group, Stack, Text, TextInput } from '@mantine/core';
import { useState } from 'react';
import { readValue } from '../lib/form/values.ts';
import { msToZoned, pauseEnds, viewerZone } from '../lib/time.ts';
import { openDialog, useDirtyDialog } from './dialog.tsx';

/** Asks until when tasks are to pause. Resolves to an RFC 3339 time; undefined when nothing is to be done. */
export function askResumeTime(what: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    openDialog({
      title: `Pause ${what} until`,
      content: (close) => (
        <PauseUntil
          answer={(resumeTime) => {
            resolve(resumeTime);
            close();
          }}
        />
      ),
      onClose: () => {
        resolve(undefined);
      },
    });
  });
}

function readFuture(local: string, zone: string): { time: string } | { time?: never; error: string } {
  const { value, error } = readValue('instant', local, zone);
  if (typeof value !== 'string') return { error: error ?? 'This is needed' };
  return Date.parse(value) > Date.now() ? { time: value } : { error: 'This has passed already' };
}

function PauseUntil({ answer }: { answer: (resumeTime?: string) => void }) {
  const zone = viewerZone();
  const [now] = useState(Date.now);
  const ends = pauseEnds(now, zone);
  const [local, setLocal] = useState(ends[0]?.local ?? msToZoned(now, zone));
  const [error, setError] = useState('');
  const [before] = useState(local);
  useDirtyDialog(local !== before);
  return (
    <form
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        const read = readFuture(local, zone);
        if (read.time === undefined) setError(read.error);
        else answer(read.time);
      }}
    >
      <Stack gap="sm">
        <Text size="sm" c="dimmed">
          Nothing fires until then; nominal times that pass meanwhile are skipped. An execution under way goes on.
        </Text>
        <div className="presets">
          {ends.map((end) => (
            <button
              key={end.name}
              type="button"
              aria-pressed={end.local === local}
              onClick={() => {
                setLocal(end.local);
                setError('');
              }}
            >
              {end.name}
            </button>
          ))}
        </div>
        <TextInput
          label="Resumes at"
          description={`In ${zone}, your zone`}
          type="datetime-local"
          step={1}
          required
          error={error}
          value={local}
          onChange={(event) => {
            setLocal(event.currentTarget.value);
            setError('');
          }}
        />
        <Group gap="xs">
          <Button type="submit">Pause</Button>
          <Button
            variant="default"
            onClick={() => {
              answer();
            }}
          >
            Cancel
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
