/** What one rule of a policy says about one part of a package. */
export interface PolicyDecision {
  /** Name of the rule: the field of the policy that decides, such as `allow.kinds`. */
  readonly rule: string;
  /** JSON pointer (RFC 6901) into the policy with its defaults, or `built-in` where no field says it. */
  readonly place: string;
  /** What is judged: `step deploy`, `the package`. */
  readonly subject: string;
  readonly decision: 'allow' | 'deny' | 'approve-by-policy' | 'needs-approval' | 'wait';
  /** For people, without a full stop at its end. */
  readonly why: string;
}
