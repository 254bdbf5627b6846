import type { WindowState } from './maintenance-windows.ts';
import { moment } from './moment.ts';

/** Apart from maintenance-windows.ts, which brings the time zone library: workflow code must not. */
export type ClosedWindow = Extract<WindowState, { open: false }>;

/** `opens 2026-11-25T21:00:00Z (22:00 Europe/Berlin)`: for whoever reads UTC, and for whoever reads the policy. */
export function openingText({ opensAt, opensAtLocal }: ClosedWindow): string {
  if (opensAt === undefined) return 'does not open within a year';
  return `opens ${moment(opensAt)}${opensAtLocal === undefined ? '' : ` (${opensAtLocal})`}`;
}

/** What has its approvals and may not begin yet. */
export function waitsForWindowText(window: ClosedWindow): string {
  const { waitsFor, window: denying } = window;
  if (denying !== undefined) return `approved; waits for the end of the window ${denying}, ${openingText(window)}`;
  const name = waitsFor === undefined ? 'a maintenance window' : `the window ${waitsFor}`;
  return `approved; waits for ${name}, ${openingText(window)}`;
}
