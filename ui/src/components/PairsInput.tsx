import { ActionIcon, Button, Group, Input, Select, Stack, TextInput } from '@mantine/core';
import { IconPlus, IconTrash } from '@tabler/icons-react';
import type { Pair } from '../lib/form/values.ts';

interface Props {
  label: string;
  description?: string;
  noun: string;
  value: Pair[];
  /** What a value can be; without them it is any text. */
  options?: readonly { value: string; label: string }[] | undefined;
  error?: string | undefined;
  onChange: (value: Pair[]) => void;
}

/** Keys with values, a row for each. */
export function PairsInput({ label, description, noun, value, options, error, onChange }: Props) {
  const set = (index: number, part: Partial<Pair>) => {
    onChange(value.map((pair, at) => (at === index ? { ...pair, ...part } : pair)));
  };
  return (
    <Input.Wrapper label={label} description={description} error={error} labelElement="div" size="sm">
      <Stack gap={6} mt={4} role="group" aria-label={label}>
        {value.map((pair, index) => (
          <Group key={index} gap={6} wrap="nowrap">
            <TextInput
              flex={1}
              aria-label={`${noun} key ${String(index + 1)}`}
              placeholder={options ? noun.toLowerCase() : 'key'}
              value={pair.key}
              error={error !== undefined}
              onChange={(event) => {
                set(index, { key: event.currentTarget.value });
              }}
            />
            {options ? (
              <Select
                flex={2}
                aria-label={`${noun} value ${String(index + 1)}`}
                allowDeselect={false}
                data={[...options]}
                value={pair.value}
                onChange={(chosen) => {
                  set(index, { value: chosen ?? '' });
                }}
              />
            ) : (
              <TextInput
                flex={2}
                aria-label={`${noun} value ${String(index + 1)}`}
                placeholder="value"
                value={pair.value}
                onChange={(event) => {
                  set(index, { value: event.currentTarget.value });
                }}
              />
            )}
            <ActionIcon
              aria-label={`Remove ${noun.toLowerCase()} ${String(index + 1)}`}
              onClick={() => {
                onChange(value.filter((_, at) => at !== index));
              }}
            >
              <IconTrash size={15} />
            </ActionIcon>
          </Group>
        ))}
        <div>
          <Button
            variant="default"
            leftSection={<IconPlus size={14} />}
            onClick={() => {
              onChange([...value, { key: '', value: options?.[0]?.value ?? '' }]);
            }}
          >
            Add {noun.toLowerCase()}
          </Button>
        </div>
      </Stack>
    </Input.Wrapper>
  );
}
