import {
  ActionIcon,
  Alert,
  AppShell,
  Burger,
  Button,
  Group,
  NavLink,
  Text,
  useMantineColorScheme,
} from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import {
  IconCalendarClock,
  IconCalendarOff,
  IconHistory,
  IconFileSearch,
  IconLayoutDashboard,
  IconMoon,
  IconServer2,
  IconStack2,
  IconSun,
} from '@tabler/icons-react';
import { useEffect, useRef } from 'react';
import { Link, Outlet, useLocation } from 'react-router';
import { useConnection } from '../api/connection.ts';
import { useKnownNodes } from '../api/knownNodes.ts';
import { useCluster } from '../api/queries.ts';
import type { ClusterStatus } from '../api/types.ts';
import { otherNodes } from '../lib/otherNodes.ts';
import { formatCount } from '../lib/duration.ts';
import { Badge } from './State.tsx';

const PAGES = [
  { to: '/', label: 'Overview', icon: IconLayoutDashboard },
  { to: '/tasks', label: 'Tasks', icon: IconCalendarClock },
  { to: '/executions', label: 'Executions', icon: IconHistory },
  { to: '/logs', label: 'Logs', icon: IconFileSearch },
  { to: '/groups', label: 'Groups', icon: IconStack2 },
  { to: '/calendars', label: 'Calendars', icon: IconCalendarOff },
  { to: '/cluster', label: 'Cluster', icon: IconServer2 },
];

/** The frame of every page: navigation, the state of the connection, light or dark. */
export function Layout() {
  const [opened, { toggle, close }] = useDisclosure();
  const { pathname } = useLocation();
  const first = useRef(true);
  useEffect(() => {
    close();
    if (!first.current) document.getElementById('main')?.focus();
    first.current = false;
  }, [pathname, close]);
  return (
    <AppShell
      header={{ height: 48 }}
      navbar={{ width: 188, breakpoint: 'sm', collapsed: { mobile: !opened } }}
      padding="md"
    >
      <a className="skip" href="#main">
        Skip to the content
      </a>
      <AppShell.Header px="md" style={{ background: 'var(--surface)', borderColor: 'var(--line)' }}>
        <Group h="100%" justify="space-between" wrap="nowrap">
          <Group gap="xs" wrap="nowrap">
            <Burger opened={opened} onClick={toggle} hiddenFrom="sm" size="sm" aria-label="Navigation" />
            <Link to="/" style={{ color: 'inherit', textDecoration: 'none' }}>
              <Group gap={8} wrap="nowrap">
                <img src="/favicon.svg" width={22} height={22} alt="" />
                <Text fw={600} size="md">
                  raftsched
                </Text>
              </Group>
            </Link>
          </Group>
          <Group gap="sm" wrap="nowrap">
            <Where />
            <Button component={Link} to="/register" px="sm">
              New task
            </Button>
            <SchemeToggle />
          </Group>
        </Group>
      </AppShell.Header>
      <AppShell.Navbar p="xs" style={{ background: 'var(--surface)', borderColor: 'var(--line)' }} aria-label="Pages">
        {PAGES.map(({ to, label, icon: Icon }) => (
          <NavLink
            key={to}
            component={Link}
            to={to}
            label={label}
            leftSection={<Icon size={17} stroke={1.7} />}
            active={to === '/' ? pathname === '/' : pathname.startsWith(to)}
            aria-current={(to === '/' ? pathname === '/' : pathname.startsWith(to)) ? 'page' : undefined}
            style={{ borderRadius: 5 }}
            mb={2}
          />
        ))}
      </AppShell.Navbar>
      <AppShell.Main id="main" tabIndex={-1} style={{ outline: 'none' }}>
        <div style={{ maxWidth: 1240, margin: '0 auto' }}>
          <Banner />
          <Outlet />
        </div>
      </AppShell.Main>
    </AppShell>
  );
}

/** The leader, and whether changes arrive by themselves. */
function Where() {
  const { data } = useCluster();
  const { reachable, stream } = useConnection();
  return (
    <Group gap={6} wrap="nowrap">
      {data ? (
        <span className="wide">
          <Badge tone={!reachable ? 'idle' : data.noMajority ? 'bad' : data.leaderId ? 'idle' : 'warn'}>
            {!reachable
              ? 'Leader unknown'
              : data.noMajority
                ? 'No majority'
                : data.leaderId
                  ? `Leader ${data.leaderId}`
                  : 'No leader'}
          </Badge>
        </span>
      ) : null}
      <Badge tone={!reachable ? 'bad' : stream === 'down' ? 'warn' : 'good'} dot>
        {!reachable ? 'Offline' : { open: 'Live', down: 'Polling', none: 'Online' }[stream]}
      </Badge>
    </Group>
  );
}

function Banner() {
  const { reachable, stale } = useConnection();
  const { data } = useCluster();
  if (reachable && data?.noMajority) return <NoMajority status={data} />;
  if (!reachable) return <NodeGone />;
  if (!stale) return null;
  return (
    <Alert color="yellow" variant="light" mb="md" role="status" title="There is no leader">
      The nodes are electing one. What you see is what this node has applied and may be old; changes wait.
    </Alert>
  );
}

/** The node of this page does not answer: where to go on. */
function NodeGone() {
  const { pathname, search } = useLocation();
  const others = otherNodes(useKnownNodes(), location.host);
  return (
    <Alert color="yellow" variant="light" mb="md" role="status" title="Reconnecting">
      This node does not answer. What you see may be old; the page goes on by itself as soon as a node answers at this
      address.
      {others.length ? (
        <Group gap="xs" mt="xs">
          <span>This page of another node:</span>
          {others.map(({ id, address }) => (
            <Button
              key={id}
              component="a"
              variant="default"
              href={`${location.protocol}//${address}${pathname}${search}`}
            >
              {id} at {address}
            </Button>
          ))}
        </Group>
      ) : null}
    </Alert>
  );
}

/** Too few nodes answer for anything to be changed. */
function NoMajority({ status }: { status: ClusterStatus }) {
  const all = status.nodes.length;
  const missing = status.missingNodeIds;
  return (
    <Alert color="red" variant="light" mb="md" role="status" title="There is no majority">
      {formatCount(all - missing.length)} of {formatCount(all)} nodes can be reached. Missing: {missing.join(', ')}.
      Until a majority is there nothing can be changed and no task fires. What you see is what this node has applied and
      may be old.
    </Alert>
  );
}

function SchemeToggle() {
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const dark = colorScheme === 'dark' || (colorScheme === 'auto' && matchMedia('(prefers-color-scheme: dark)').matches);
  return (
    <ActionIcon
      aria-label={dark ? 'Light colours' : 'Dark colours'}
      onClick={() => {
        setColorScheme(dark ? 'light' : 'dark');
      }}
    >
      {dark ? <IconSun size={17} /> : <IconMoon size={17} />}
    </ActionIcon>
  );
}
