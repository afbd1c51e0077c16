import { Text } from '@mantine/core';
import { modals } from '@mantine/modals';
import { useEffect, useRef } from 'react';
import { useBlocker } from 'react-router';

/** Asks whether what was typed may be thrown away. */
export function askToLeave(): Promise<boolean> {
  return new Promise((resolve) => {
    const id = modals.openConfirmModal({
      title: 'Throw away what you typed?',
      children: <Text size="sm">It is not saved.</Text>,
      labels: { confirm: 'Throw away', cancel: 'Go on editing' },
      confirmProps: { color: 'red.9' },
      zIndex: 400,
      // Closing comes after the answer, since it answers with no.
      closeOnConfirm: false,
      onConfirm: () => {
        resolve(true);
        modals.close(id);
      },
      onClose: () => {
        resolve(false);
      },
    });
  });
}

/** While something typed is not saved, the browser asks before it reloads or closes the page. */
export function useAskBeforeUnload(dirty: boolean): void {
  useEffect(() => {
    if (!dirty) return undefined;
    const ask = (event: BeforeUnloadEvent) => {
      event.preventDefault();
    };
    window.addEventListener('beforeunload', ask);
    return () => {
      window.removeEventListener('beforeunload', ask);
    };
  }, [dirty]);
}

/** Asks before another page is opened while something typed is not saved. Returns how to leave without a question. */
export function useLeaveGuard(dirty: boolean): (leave: () => void) => void {
  const released = useRef(false);
  useAskBeforeUnload(dirty);
  const blocker = useBlocker(
    ({ currentLocation, nextLocation }) =>
      dirty && !released.current && currentLocation.pathname !== nextLocation.pathname,
  );
  useEffect(() => {
    if (blocker.state !== 'blocked') return;
    void askToLeave().then((sure) => {
      if (sure) blocker.proceed();
      else blocker.reset();
    });
  }, [blocker]);
  return (leave) => {
    released.current = true;
    leave();
  };
}
