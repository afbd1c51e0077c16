import { ActionIcon, Group, Text } from '@mantine/core';
import { modals } from '@mantine/modals';
import { notifications } from '@mantine/notifications';
import { IconPencil, IconTrash } from '@tabler/icons-react';
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
    <Group gap={4} wrap="nowrap" justify="flex-end">
      <ActionIcon aria-label={`Edit ${name}`} title={`Edit ${name}`} onClick={edit}>
        <IconPencil size={16} />
      </ActionIcon>
      <ActionIcon
        title={`Delete ${name}`}
        aria-label={`Delete ${name}`}
        loading={removal.isPending}
        onClick={() => {
          modals.openConfirmModal({
            title: `Delete ${name}?`,
            children: <Text size="sm">{warning}</Text>,
            labels: { confirm: 'Delete', cancel: 'Keep' },
            confirmProps: { color: 'red.9' },
            onConfirm: () => {
              removal.mutate();
            },
          });
        }}
      >
        <IconTrash size={16} />
      </ActionIcon>
    </Group>
  );
}
