const HEAD = 'apiVersion: neuralops.io/v1\nkind: Policy\n';

/** A policy file that says no more than this, in YAML. */
export function policyText(yaml = ''): string {
  return `${HEAD}${yaml}\n`;
}

/** One that counts bare signals, which only assert who sent them, and says this besides. */
export function trustingPolicy(yaml = ''): string {
  return policyText(`approvals: { acceptAsserted: true }\n${yaml}`);
}
