import '@mantine/core/styles.css';
import '@mantine/notifications/styles.css';
import './styles.css';
import { MantineProvider } from '@mantine/core';
import { ModalsProvider } from '@mantine/modals';
import { Notifications } from '@mantine/notifications';
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { StrictMode, type ReactElement } from 'react';
import { createRoot } from 'react-dom/client';
import { createBrowserRouter, RouterProvider } from 'react-router';
import { Problem } from './api/problem.ts';
import { DialogHost } from './components/dialog.tsx';
import { Layout } from './components/Layout.tsx';
import { CalendarsPage } from './pages/Calendars.tsx';
import { ClusterPage } from './pages/Cluster.tsx';
import { ExecutionPage } from './pages/Execution.tsx';
import { ExecutionsPage } from './pages/Executions.tsx';
import { GroupsPage } from './pages/Groups.tsx';
import { LogsPage } from './pages/Logs.tsx';
import { NotFoundPage } from './pages/NotFound.tsx';
import { OverviewPage } from './pages/Overview.tsx';
import { TaskPage } from './pages/Task.tsx';
import { EditTaskPage, NewTaskPage } from './pages/TaskForm.tsx';
import { TasksPage } from './pages/Tasks.tsx';
import { PATHS, type Path } from './routes.ts';
import { theme } from './theme.ts';

const client = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 500,
      networkMode: 'always',
      retry: (count, error) => error instanceof Problem && error.isOutage && count < 2,
      retryDelay: 1000,
    },
    mutations: { networkMode: 'always' },
  },
});

const pages: Record<Path, ReactElement> = {
  '/': <OverviewPage />,
  '/tasks': <TasksPage />,
  '/register': <NewTaskPage />,
  '/tasks/:name': <TaskPage />,
  '/tasks/:name/edit': <EditTaskPage />,
  '/executions': <ExecutionsPage />,
  '/executions/:id': <ExecutionPage />,
  '/logs': <LogsPage />,
  '/groups': <GroupsPage />,
  '/calendars': <CalendarsPage />,
  '/cluster': <ClusterPage />,
};

const router = createBrowserRouter([
  {
    element: <Layout />,
    children: [...PATHS.map((path) => ({ path, element: pages[path] })), { path: '*', element: <NotFoundPage /> }],
  },
]);

const root = document.getElementById('root');
if (!root) throw new Error('index.html has no element with the id root');
createRoot(root).render(
  <StrictMode>
    <MantineProvider theme={theme} defaultColorScheme="auto">
      <QueryClientProvider client={client}>
        <ModalsProvider>
          <Notifications position="bottom-right" />
          <DialogHost />
          <RouterProvider router={router} />
        </ModalsProvider>
      </QueryClientProvider>
    </MantineProvider>
  </StrictMode>,
);
