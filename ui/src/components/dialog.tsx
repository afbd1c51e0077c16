import { Modal } from '@mantine/core';
import { useEffect, useState, useSyncExternalStore, type ReactNode } from 'react';
import { askToLeave, useAskBeforeUnload } from './leave.tsx';

interface Dialog {
  title: string;
  size?: string;
  /** What it shows; `close` closes it without a question. */
  content: (close: () => void) => ReactNode;
  /** However it was closed. */
  onClose?: () => void;
}

interface State {
  dialog: Dialog | undefined;
  opened: boolean;
  /** Something in it is typed and not saved. */
  dirty: boolean;
}

let state: State = { dialog: undefined, opened: false, dirty: false };
const listeners = new Set<() => void>();

function change(part: Partial<State>): void {
  state = { ...state, ...part };
  for (const listener of listeners) listener();
}

/** Opens a dialog in which something is typed. There is one at a time. */
export function openDialog(dialog: Dialog): void {
  change({ dialog, opened: true, dirty: false });
}

function close(): void {
  if (!state.opened) return;
  change({ opened: false, dirty: false });
  state.dialog?.onClose?.();
}

/** Says whether what stands in the dialog was typed and is not saved: then closing it asks first. */
export function useDirtyDialog(dirty: boolean): void {
  useEffect(() => {
    change({ dirty });
  }, [dirty]);
}

/** Where dialogs appear. */
export function DialogHost() {
  const { dialog, opened, dirty } = useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => state,
  );
  const [asking, setAsking] = useState(false);
  useAskBeforeUnload(dirty);
  const leave = () => {
    if (!dirty) {
      close();
      return;
    }
    setAsking(true);
    void askToLeave().then((sure) => {
      setAsking(false);
      if (sure) close();
    });
  };
  return (
    <Modal
      opened={opened}
      onClose={leave}
      title={dialog?.title}
      size={dialog?.size ?? 'md'}
      closeOnEscape={!asking}
      closeOnClickOutside={!asking}
      trapFocus={!asking}
    >
      {dialog?.content(close)}
    </Modal>
  );
}
