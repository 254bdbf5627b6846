/** Whether nobody else can listen on the way to an address: secrets travel encrypted, or on this machine, or not at all. */
export function isEncryptedOrLocal(address: string): boolean {
  const url = URL.parse(address);
  return url?.protocol === 'https:' || (url?.protocol === 'http:' && isLoopback(url.hostname));
}

/** @param host a name, or an address as it stands in a URL */
export function isLoopback(host: string): boolean {
  return ['127.0.0.1', '[::1]', '::1', 'localhost'].includes(host);
}
