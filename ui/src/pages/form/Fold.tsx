import { Title } from '@mantine/core';
import { useState, type ReactNode } from 'react';
import type { Field } from '../../lib/form/fields.ts';
import { isShown } from '../../lib/form/form.ts';
import { setWords } from '../../lib/form/summary.ts';
import type { FormState } from './useTaskForm.ts';

interface Props {
  title: string;
  fields: readonly Field[];
  state: FormState;
  /** A panel of its own. */
  panel?: boolean;
  /** Open for another reason than a click. */
  needed?: boolean;
  children: ReactNode;
}

/** Fields that most do not need, folded away; it says which of them are set, and opens when one of them is wrong. */
export function Fold({ title, fields, state, panel, needed, children }: Props) {
  const [open, setOpen] = useState(false);
  const there = fields.filter((field) => isShown(field, state.form));
  const wrong = there.some(({ path }) => state.errors[path] !== undefined);
  const warned = there.some(({ path }) => state.warnings[path] !== undefined);
  const set = setWords(there, state.form);
  return (
    <details
      className={panel ? 'fold panel' : 'fold'}
      open={open || wrong || needed === true}
      onToggle={(event) => {
        setOpen(event.currentTarget.open);
      }}
    >
      <summary>
        {panel ? <Title order={2}>{title}</Title> : <span className="fold-title">{title}</span>}
        <span className={set.length ? 'fold-set' : 'fold-set muted'}>
          {warned ? <strong>Look here. </strong> : null}
          {set.length ? set.join(' · ') : there.map(({ label }) => label).join(', ')}
        </span>
      </summary>
      <div className="fold-body">{children}</div>
    </details>
  );
}
