import { Button, Group, Text } from '@mantine/core';
import { modals } from '@mantine/modals';
import { notifications } from '@mantine/notifications';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { tellError } from './taskActions.tsx';

interface Props {
  name: string;
  /** The query that lists it. */
  list: string;
  warning: string;
  edit: () => void;
  remove: (name: string) => Promise<void>;
}

/** Edits what stands in a row, or deletes it after a question. */
export function RowActions({ name, list, warning, edit, remove }: Props) {
  const client = useQueryClient();
  const removal = useMutation({
    mutationFn: () => remove(name),
    onSuccess: () => {
      notifications.show({ message: `Deleted ${name}`, autoClose: 3000 });
    },
    onError: (error) => {
      tellError(`${name} was not deleted`, error);
    },
    onSettled: () => client.invalidateQueries({ queryKey: [list] }),
  });
  return (
    <Group gap="xs" wrap="nowrap" justify="flex-end">
      <Button variant="default" aria-label={`Edit ${name}`} onClick={edit}>
        Edit
      </Button>
      <Button
        variant="default"
        aria-label={`Delete ${name}`}
        loading={removal.isPending}
        onClick={() => {
          modals.openConfirmModal({
            title: `Delete ${name}?`,
            children: <Text size="sm">{warning}</Text>,
            labels: { confirm: 'Delete', cancel: 'Keep' },
            confirmProps: { color: 'red' },
            onConfirm: () => {
              removal.mutate();
            },
          });
        }}
      >
        Delete
      </Button>
    </Group>
  );
}
