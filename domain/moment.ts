/** A time as people read it, to the second: one form wherever a command shows one. What is no time stays as it is. */
export function moment(time: string): string {
  return time.replace(/^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.\d+Z$/, '$1Z');
}
