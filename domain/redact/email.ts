import fqdn from 'validator/lib/isFQDN.js';

/** Whether what follows an `@` makes a mail address of it: `lodash@4.17.21` and `root@localhost` are none. */
export function isMailDomain(domain: string): boolean {
  return domain.length <= 255 && fqdn.default(domain);
}
