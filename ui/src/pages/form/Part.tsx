import { Group, Text } from '@mantine/core';
import { type ReactNode, useId } from 'react';
import type { Choice } from '../../lib/form/fields.ts';
import { variantsOf } from '../../lib/form/form.ts';
import { splitWords } from '../../lib/words.ts';
import { Fold } from './Fold.tsx';
import { Fields } from './FieldInput.tsx';
import type { FormState } from './useTaskForm.ts';

interface Props {
  choice: Choice;
  state: FormState;
  locked?: readonly string[];
  after?: Record<string, ReactNode>;
}

/** A part of the task that is of one kind out of several: the kinds, and the fields of the chosen one. */
export function Part({ choice, state, locked = [], after = {} }: Props) {
  const variants = variantsOf(choice);
  const chosen = state.form.variants[choice.path];
  const variant = variants.find(({ value }) => value === chosen);
  const fields = variant?.fields ?? [];
  const rare = fields.filter((field) => field.rare);
  const name = useId();
  return (
    <div style={{ display: 'grid', gap: 12 }}>
      <fieldset className="kinds">
        <legend className="skip">{choice.label}</legend>
        {variants.map(({ value, label }) => (
          <label key={value}>
            <input
              type="radio"
              name={name}
              value={value}
              checked={value === chosen}
              onChange={() => {
                state.choose(choice.path, value);
              }}
            />
            <span>{label}</span>
          </label>
        ))}
      </fieldset>
      {variant?.hint ? <Text size="sm">{variant.hint}</Text> : null}
      <Fields fields={fields.filter(({ rare }) => !rare)} state={state} locked={locked} after={after} />
      {rare.length ? (
        <Fold title={`More of the ${choice.path}`} fields={rare} state={state}>
          <Fields fields={rare} state={state} locked={locked} after={after} />
        </Fold>
      ) : null}
    </div>
  );
}

/** The words of a command line, as the program gets them. */
export function Arguments({ line }: { line: string }) {
  const words = splitWords(line) ?? [];
  if (words.length < 2) return null;
  return (
    <Group gap={4} aria-label="Arguments as they are passed" role="group">
      {words.map((word, index) => (
        <span key={index} className="label-chip mono clip">
          {word || '""'}
        </span>
      ))}
    </Group>
  );
}
