import { Group } from '@mantine/core';
import { Link } from 'react-router';

/** Labels as small chips; with `link`, each leads to the tasks that carry it. */
export function Labels({ labels, link }: { labels: Record<string, string> | undefined; link?: boolean }) {
  const entries = Object.entries(labels ?? {}).toSorted(([a], [b]) => a.localeCompare(b));
  if (entries.length === 0) return <span className="muted">–</span>;
  return (
    <Group gap={4}>
      {entries.map(([key, value]) => {
        const text = value ? `${key}=${value}` : key;
        return link ? (
          <Link
            key={key}
            className="label-chip clip"
            title={text}
            to={`/tasks?label=${encodeURIComponent(`${key}=${value}`)}`}
          >
            {text}
          </Link>
        ) : (
          <span key={key} className="label-chip clip" title={text}>
            {text}
          </span>
        );
      })}
    </Group>
  );
}
