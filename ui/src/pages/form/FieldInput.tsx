import { MultiSelect, Select, Switch, TagsInput, Text, Textarea, TextInput } from '@mantine/core';
import { Fragment, type ReactNode } from 'react';
import { CalendarsInput, GroupInput } from '../../components/NamedInput.tsx';
import { PairsInput } from '../../components/PairsInput.tsx';
import type { Field } from '../../lib/form/fields.ts';
import { isShown } from '../../lib/form/form.ts';
import type { Pair, Value } from '../../lib/form/values.ts';
import { knownZones } from '../../lib/time.ts';
import type { FormState } from './useTaskForm.ts';

const CODE = { input: { fontFamily: 'var(--mantine-font-family-monospace)', fontSize: 13 } };
const ZONES = knownZones();

interface FieldsProps {
  fields: readonly Field[];
  state: FormState;
  /** Paths whose value the form cannot show. */
  locked?: readonly string[];
  /** The task has a name already. */
  named?: boolean;
  /** What stands behind a field, by its path. */
  after?: Record<string, ReactNode>;
}

/** Inputs of those fields that are there at the moment, two beside each other where they fit. */
export function Fields({ fields, state, locked = [], named = false, after = {} }: FieldsProps) {
  return (
    <div className="fields">
      {fields
        .filter((field) => isShown(field, state.form))
        .map((field) => (
          <Fragment key={field.path}>
            <div className={field.wide ? 'fields-wide' : undefined} data-field={field.path}>
              <FieldInput
                field={
                  locked.includes(field.path)
                    ? { ...field, description: 'Holds bytes that are not text; they are kept as they are' }
                    : named && field.path === 'name'
                      ? { ...field, description: 'The name of a task cannot change' }
                      : field
                }
                value={state.form.values[field.path] ?? ''}
                error={state.errors[field.path]}
                disabled={locked.includes(field.path) || (named && field.path === 'name')}
                onChange={(value) => {
                  state.set(field.path, value);
                }}
              />
              {state.warnings[field.path] ? (
                <Text size="xs" mt={4} role="status" className="wrap-anywhere" style={{ color: 'var(--warn-fg)' }}>
                  {state.warnings[field.path]}
                </Text>
              ) : null}
            </div>
            {after[field.path] ? <div className="fields-wide">{after[field.path]}</div> : null}
          </Fragment>
        ))}
    </div>
  );
}

interface InputProps {
  field: Field;
  value: Value;
  error: string | undefined;
  disabled: boolean;
  onChange: (value: Value) => void;
}

function FieldInput({ field, value, error, disabled, onChange }: InputProps) {
  const { label, description, placeholder } = field;
  const shared = { label, description, error, disabled, required: field.required ?? false };
  const text = String(value);
  const typed = (event: { currentTarget: { value: string } }) => {
    onChange(event.currentTarget.value);
  };
  switch (field.kind) {
    case 'pairs':
    case 'parents':
      return (
        <PairsInput
          label={label}
          {...(description ? { description } : {})}
          noun={field.noun ?? 'Row'}
          options={field.options}
          value={value as Pair[]}
          error={error}
          onChange={onChange}
        />
      );
    case 'boolean':
    case 'part':
      return (
        <Switch
          label={label}
          description={description}
          checked={value === true}
          onChange={(event) => {
            onChange(event.currentTarget.checked);
          }}
        />
      );
    case 'choice':
      return (
        <Select
          {...shared}
          allowDeselect={false}
          data={[...(field.options ?? [])]}
          value={text}
          onChange={(next) => {
            onChange(next ?? '');
          }}
        />
      );
    case 'zone':
      return (
        <Select
          {...shared}
          searchable
          allowDeselect={false}
          limit={60}
          onFocus={(event) => {
            // What is typed next replaces the zone, so that the search begins at once.
            event.currentTarget.select();
          }}
          data={ZONES.includes(text) ? ZONES : [text, ...ZONES]}
          value={text}
          onChange={(next) => {
            onChange(next ?? '');
          }}
        />
      );
    case 'list':
      return field.options ? (
        <MultiSelect {...shared} size="sm" data={[...field.options]} value={value as string[]} onChange={onChange} />
      ) : (
        <TagsInput {...shared} size="sm" value={value as string[]} onChange={onChange} />
      );
    case 'integers':
      return <TagsInput {...shared} size="sm" value={value as string[]} onChange={onChange} />;
    case 'group':
      return <GroupInput {...shared} placeholder={placeholder} value={text} onChange={onChange} />;
    case 'calendars':
      return <CalendarsInput {...shared} placeholder={placeholder} value={value as string[]} onChange={onChange} />;
    case 'area':
    case 'exclusions':
    case 'bytes':
    case 'json':
      return (
        <Textarea
          {...shared}
          autosize
          minRows={field.kind === 'json' ? 6 : field.required ? 3 : 1}
          maxRows={16}
          placeholder={placeholder}
          styles={field.code ? CODE : {}}
          value={text}
          onChange={typed}
        />
      );
    case 'instant':
      return <TextInput {...shared} type="datetime-local" step={1} value={text} onChange={typed} />;
    default:
      return (
        <TextInput
          {...shared}
          placeholder={placeholder}
          inputMode={field.kind === 'integer' ? 'numeric' : 'text'}
          styles={field.code ? CODE : {}}
          value={text}
          onChange={typed}
        />
      );
  }
}
