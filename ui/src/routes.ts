/** The paths of all pages. The build writes them to routes.json, by which a node tells its pages from what is not there. */
export const PATHS = [
  '/',
  '/tasks',
  '/register',
  '/tasks/:name',
  '/tasks/:name/edit',
  '/executions',
  '/executions/:id',
  '/logs',
  '/groups',
  '/calendars',
  '/cluster',
] as const;

export type Path = (typeof PATHS)[number];
