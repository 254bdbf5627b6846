import type { ProblemCode } from '../../domain/control-plane.ts';

/** A request that the control plane does not carry out. `why` is for its own log; the caller reads the code's title. */
export class Refusal extends Error {
  readonly code: ProblemCode;
  readonly headers: Readonly<Record<string, string>>;

  constructor(code: ProblemCode, why: string, headers: Readonly<Record<string, string>> = {}) {
    super(why);
    this.name = 'Refusal';
    this.code = code;
    this.headers = headers;
  }
}
