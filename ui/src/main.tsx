import '@mantine/core/styles.css';
import '@mantine/notifications/styles.css';
import './styles.css';
import { MantineProvider } from '@mantine/core';
import { ModalsProvider } from '@mantine/modals';
import { Notifications } from '@mantine/notifications';
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { createBrowserRouter, RouterProvider } from 'react-router';
import { Problem } from './api/problem.ts';
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

const router = createBrowserRouter([
  {
    element: <Layout />,
    children: [
      { path: '/', element: <OverviewPage /> },
      { path: '/tasks', element: <TasksPage /> },
      { path: '/register', element: <NewTaskPage /> },
      { path: '/tasks/:name', element: <TaskPage /> },
      { path: '/tasks/:name/edit', element: <EditTaskPage /> },
      { path: '/executions', element: <ExecutionsPage /> },
      { path: '/executions/:id', element: <ExecutionPage /> },
      { path: '/logs', element: <LogsPage /> },
      { path: '/groups', element: <GroupsPage /> },
      { path: '/calendars', element: <CalendarsPage /> },
      { path: '/cluster', element: <ClusterPage /> },
      { path: '*', element: <NotFoundPage /> },
    ],
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
          <RouterProvider router={router} />
        </ModalsProvider>
      </QueryClientProvider>
    </MantineProvider>
  </StrictMode>,
);
