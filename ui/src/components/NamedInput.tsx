import { MultiSelect, Select } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { listCalendars, listGroups } from '../api/calls.ts';

interface Shared {
  label: string;
  description: string | undefined;
  placeholder: string | undefined;
  error: string | undefined;
  disabled: boolean;
}

function withChosen(known: { name?: string }[] | undefined, chosen: string[]): string[] {
  return [...new Set([...chosen, ...(known ?? []).map(({ name }) => name ?? '')])].filter(Boolean);
}

/** One of the groups that there are, or none. */
export function GroupInput({
  value,
  onChange,
  ...shared
}: Shared & { value: string; onChange: (value: string) => void }) {
  const groups = useQuery({ queryKey: ['groups'], queryFn: ({ signal }) => listGroups(signal) });
  return (
    <Select
      {...shared}
      searchable
      clearable
      nothingFoundMessage="There is no such group"
      data={withChosen(groups.data, [value])}
      value={value || null}
      onChange={(next) => {
        onChange(next ?? '');
      }}
    />
  );
}

/** Some of the calendars that there are. */
export function CalendarsInput({
  value,
  onChange,
  ...shared
}: Shared & { value: string[]; onChange: (value: string[]) => void }) {
  const calendars = useQuery({ queryKey: ['calendars'], queryFn: ({ signal }) => listCalendars(signal) });
  return (
    <MultiSelect
      {...shared}
      size="sm"
      searchable
      nothingFoundMessage="There is no such calendar"
      data={withChosen(calendars.data, value)}
      value={value}
      onChange={onChange}
    />
  );
}
