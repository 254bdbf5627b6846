/** What an identity is compared by: Unicode compatibility forms, case and white space do not tell people apart. */
export function identityKey(identity: string): string {
  return identity
    .normalize('NFKC')
    .replace(/[\s\p{Cf}]/gu, '')
    .toLowerCase();
}
