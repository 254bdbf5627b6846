/** What the operating system says, in words where it is usual. */
export function whyUnreadable(cause: unknown): string {
  const { code = 'unknown' } = cause as { readonly code?: string }; // of node:fs
  return code === 'ENOENT' ? 'it does not exist' : code === 'EACCES' ? 'access is denied' : code;
}
