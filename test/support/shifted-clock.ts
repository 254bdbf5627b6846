/**
 * What a process is started with whose clock is wrong: JavaScript's own, by which ours judges. TLS (OpenSSL), timers and Temporal's
 * core keep the machine's clock, which nothing here may set.
 * @param byMs how far it is ahead
 */
export function shiftedClock(byMs: number): { readonly NODE_OPTIONS: string } {
  const module = `
    const Real = Date;
    globalThis.Date = class Date extends Real {
      constructor(...given) { given.length === 0 ? super(Real.now() + ${byMs}) : super(...given); }
      static now() { return Real.now() + ${byMs}; }
    };`;
  return { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(module)}` };
}
