import { Alert, Button, Skeleton, Stack, Text, Title } from '@mantine/core';
import type { UseQueryResult } from '@tanstack/react-query';
import type { ReactNode } from 'react';
import { Problem } from '../api/problem.ts';

/** What the server says is wrong, and a way to try again. */
export function ErrorNote({ error, retry }: { error: unknown; retry?: () => void }) {
  const message = error instanceof Error ? error.message : String(error);
  const outage = error instanceof Problem && error.isOutage;
  return (
    <Alert color={outage ? 'yellow' : 'red'} variant="light" title={outage ? 'No answer' : 'This did not work'} m="sm">
      <Text size="sm" mb={retry ? 'xs' : 0}>
        {message}
      </Text>
      {retry ? (
        <Button variant="default" onClick={retry}>
          Try again
        </Button>
      ) : null}
    </Alert>
  );
}

/** Nothing is there, and what to do about it. With `page` it is all that the page says. */
export function Empty({ title, children, page }: { title: string; children?: ReactNode; page?: boolean }) {
  return (
    <Stack align="center" gap={6} py={28} px="md" ta="center">
      {page ? <Title order={1}>{title}</Title> : <Text fw={500}>{title}</Text>}
      {children ? (
        <Text component="div" size="sm" c="dimmed" maw={460}>
          {children}
        </Text>
      ) : null}
    </Stack>
  );
}

interface Props<Data> {
  query: UseQueryResult<Data>;
  /** Rows of the placeholder while it loads. */
  rows?: number;
  children: (data: Data) => ReactNode;
}

/** Draws a query: a placeholder while it loads, the error when there is nothing to show, otherwise its last data. */
export function Remote<Data>({ query, rows = 4, children }: Props<Data>) {
  if (query.data !== undefined) return children(query.data);
  if (query.error) return <ErrorNote error={query.error} retry={() => void query.refetch()} />;
  return (
    <Stack gap={10} p="sm" role="status" aria-label="Loading">
      {Array.from({ length: rows }, (_, index) => (
        <Skeleton key={index} height={16} width={`${String(95 - (index % 3) * 14)}%`} />
      ))}
    </Stack>
  );
}
