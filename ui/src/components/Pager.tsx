import { Button, Group, Text } from '@mantine/core';
import { IconChevronLeft, IconChevronRight } from '@tabler/icons-react';
import { useLocation, useNavigate, useSearchParams } from 'react-router';

/** The page token in the address. */
export function usePageToken(): string {
  return useSearchParams()[0].get('page') ?? '';
}

/** Forward and back through pages whose tokens only the server knows; back is the browser's. */
export function Pager({ next, shown, noun, note }: { next: string; shown: number; noun: string; note?: string }) {
  const [parameters] = useSearchParams();
  const navigate = useNavigate();
  const { state } = useLocation();
  const depth = typeof state === 'object' && state !== null && 'depth' in state ? Number(state.depth) : 0;
  const first = new URLSearchParams(parameters);
  first.delete('page');
  const forward = new URLSearchParams(parameters);
  forward.set('page', next);
  const atStart = !parameters.has('page');
  if (atStart && !next) {
    return (
      <Text size="xs" c="dimmed" p="xs" px="sm">
        {shown} {noun}
        {note ? ` · ${note}` : ''}
      </Text>
    );
  }
  return (
    <Group justify="space-between" p="xs" px="sm" component="nav" aria-label="Pages">
      <Text size="xs" c="dimmed">
        {shown} on this page{note ? ` · ${note}` : ''}
      </Text>
      <Group gap="xs">
        <Button
          variant="default"
          disabled={atStart}
          leftSection={<IconChevronLeft size={14} />}
          onClick={() => void (depth > 0 ? navigate(-1) : navigate({ search: first.toString() }))}
        >
          {depth > 0 || atStart ? 'Back' : 'First page'}
        </Button>
        <Button
          variant="default"
          disabled={!next}
          rightSection={<IconChevronRight size={14} />}
          onClick={() => void navigate({ search: forward.toString() }, { state: { depth: depth + 1 } })}
        >
          Next
        </Button>
      </Group>
    </Group>
  );
}
