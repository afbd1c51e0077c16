import { useState } from 'react';
import type { FormErrors, TaskForm } from '../../lib/form/form.ts';
import type { Value } from '../../lib/form/values.ts';

/** What is typed, what is wrong with it, and how to change both. */
export interface FormState {
  form: TaskForm;
  errors: FormErrors;
  /** What may not be meant, by field. */
  warnings: FormErrors;
  set: (path: string, value: Value) => void;
  choose: (part: string, variant: string) => void;
  setErrors: (errors: FormErrors) => void;
}

const NOTHING: FormErrors = {};

/** The state of the form. An error goes away when its field is changed. */
export function useTaskForm(initial: TaskForm): FormState {
  const [form, setForm] = useState(initial);
  const [errors, setErrors] = useState<FormErrors>({});
  const forget = (path: string) => {
    setErrors((before) => Object.fromEntries(Object.entries(before).filter(([each]) => each !== path)));
  };
  return {
    form,
    errors,
    warnings: NOTHING,
    setErrors,
    set: (path, value) => {
      setForm((before) => ({ ...before, values: { ...before.values, [path]: value } }));
      forget(path);
    },
    choose: (part, variant) => {
      setForm((before) => ({ ...before, variants: { ...before.variants, [part]: variant } }));
      forget(part);
    },
  };
}
