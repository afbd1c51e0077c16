import { expect, it } from 'vitest';
import { waitingWords, whyItWaits } from './waiting.ts';

it('says what the server says of a wait, and else what its reason means', () => {
  expect(waitingWords('WAITING_REASON_NO_MATCHING_EXECUTOR', 'no connected executor carries zone=c')).toBe(
    'No connected executor carries zone=c',
  );
  expect(waitingWords('WAITING_REASON_GROUP_LIMIT', '')).toBe('The limits of its group have no room');
  expect(waitingWords(undefined, undefined)).toBe('');
});

it('has no reason for what is about to start, and for what has started', () => {
  expect(whyItWaits({ waitingReason: 'WAITING_REASON_DISPATCH', waitingDetail: 'about to start' })).toBe('');
  expect(whyItWaits({ waitingReason: 'WAITING_REASON_UNSPECIFIED', waitingDetail: '' })).toBe('');
});
