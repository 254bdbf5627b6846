import ipaddr from 'ipaddr.js';

export interface IpAddress {
  /** RFC 5952, so that one address has one form. */
  readonly canonical: string;
  readonly isPrivate: boolean;
}

/** Ranges that mean nothing outside of their own network, or nobody at all. */
const PRIVATE = ['private', 'uniqueLocal', 'loopback', 'linkLocal', 'unspecified', 'carrierGradeNat', 'broadcast'];

/** Addresses come again and again, and the parser takes its time. */
const REMEMBERED = 4_096;

/** What is known of addresses for the length of one text. */
export class IpAddresses {
  readonly #parsed = new Map<string, IpAddress | undefined>();

  /** @returns undefined for what is no address: octets above 255, leading zeros, a group too many */
  parse(text: string): IpAddress | undefined {
    if (this.#parsed.has(text)) return this.#parsed.get(text);
    const address = parseIp(text);
    if (this.#parsed.size < REMEMBERED) this.#parsed.set(text, address);
    return address;
  }
}

function parseIp(text: string): IpAddress | undefined {
  if (!(ipaddr.IPv4.isValidFourPartDecimal(text) || (text.includes(':') && ipaddr.IPv6.isValid(text))))
    return undefined;
  const address = ipaddr.process(text); // an IPv4 address inside of IPv6 is that IPv4 address
  return { canonical: address.toString(), isPrivate: PRIVATE.includes(address.range()) };
}
