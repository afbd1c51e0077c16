import { Group, Title } from '@mantine/core';
import type { ReactNode } from 'react';

interface Props {
  title?: ReactNode;
  actions?: ReactNode;
  /** The content reaches the edges, as a table does. */
  flush?: boolean;
  children: ReactNode;
}

/** A part of a page with its heading. */
export function Panel({ title, actions, flush, children }: Props) {
  return (
    <section className="panel">
      {title ? (
        <div className="panel-head">
          <Title order={2}>{title}</Title>
          {actions}
        </div>
      ) : null}
      {flush ? (
        <div style={{ paddingTop: title ? 4 : 0 }}>{children}</div>
      ) : (
        <div className="panel-body">{children}</div>
      )}
    </section>
  );
}

/** The heading of a page and what can be done there. */
export function PageHead({ title, note, actions }: { title: ReactNode; note?: ReactNode; actions?: ReactNode }) {
  return (
    <Group justify="space-between" align="center" gap="sm" mih={34}>
      <Group gap="sm" style={{ minWidth: 0, flex: '1 1 auto' }}>
        <Title order={1} className="wrap-anywhere">
          {title}
        </Title>
        {note}
      </Group>
      <Group gap="xs">{actions}</Group>
    </Group>
  );
}
