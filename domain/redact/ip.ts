import ipaddr from 'ipaddr.js';

export interface IpAddress {
  /** RFC 5952, so that one address has one form. */
  readonly canonical: string;
  readonly isPrivate: boolean;
}

/** Ranges that mean nothing outside of their own network, or nobody at all. */
const PRIVATE = ['private', 'uniqueLocal', 'loopback', 'linkLocal', 'unspecified', 'carrierGradeNat', 'broadcast'];

/** @returns undefined for what is no address: octets above 255, leading zeros, a group too many */
export function parseIp(text: string): IpAddress | undefined {
  if (!(ipaddr.IPv4.isValidFourPartDecimal(text) || (text.includes(':') && ipaddr.IPv6.isValid(text))))
    return undefined;
  const address = ipaddr.process(text); // an IPv4 address inside of IPv6 is that IPv4 address
  return { canonical: address.toString(), isPrivate: PRIVATE.includes(address.range()) };
}
