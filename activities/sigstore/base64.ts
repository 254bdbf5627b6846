/** Base64 in its one canonical form (RFC 4648 section 3.5), so that two texts never stand for the same bytes. */
export function isBase64(text: string): boolean {
  return text !== '' && Buffer.from(text, 'base64').toString('base64') === text;
}
