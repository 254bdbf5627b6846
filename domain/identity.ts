/** What an identity is compared by: Unicode compatibility forms, case and white space do not tell people apart. */
export function identityKey(identity: string): string {
  return identity
    .normalize('NFKC')
    .replace(/[\s\p{Cf}]/gu, '')
    .toLowerCase();
}

/** Two spellings of one name are one person. */
export function sameIdentity(a: string, b: string): boolean {
  return identityKey(a) === identityKey(b);
}
