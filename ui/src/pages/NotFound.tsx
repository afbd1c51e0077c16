import { useDocumentTitle } from '@mantine/hooks';
import { Link } from 'react-router';
import { Panel } from '../components/Panel.tsx';
import { Empty } from '../components/Remote.tsx';

export function NotFoundPage() {
  useDocumentTitle('Not found · raftsched');
  return (
    <Panel>
      <Empty page title="There is no such page">
        Go to the <Link to="/">overview</Link> or the <Link to="/tasks">tasks</Link>.
      </Empty>
    </Panel>
  );
}
