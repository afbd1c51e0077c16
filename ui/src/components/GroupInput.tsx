import { Select } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { listGroups } from '../api/calls.ts';

interface Props {
  label: string;
  description: string | undefined;
  placeholder: string | undefined;
  error: string | undefined;
  disabled: boolean;
  value: string;
  onChange: (value: string) => void;
}

/** One of the groups that there are, or none. */
export function GroupInput({ value, onChange, ...shared }: Props) {
  const groups = useQuery({ queryKey: ['groups'], queryFn: ({ signal }) => listGroups(signal) });
  const names = (groups.data ?? []).map(({ name }) => name ?? '');
  return (
    <Select
      {...shared}
      searchable
      clearable
      nothingFoundMessage="There is no such group"
      data={value === '' || names.includes(value) ? names : [value, ...names]}
      value={value || null}
      onChange={(next) => {
        onChange(next ?? '');
      }}
    />
  );
}
