import { randomBytes } from 'node:crypto';
import type { Command } from 'commander';
import { createKubeApi } from '../../activities/kubernetes/kube-api.ts';
import { kubeConfigOf } from '../../activities/kubernetes/kubeconfig.ts';
import { createMask } from '../../activities/kubernetes/mask.ts';
import { createPlanner } from '../../activities/kubernetes/planner.ts';
import { makePlan } from '../../activities/package/planning.ts';
import { policySource } from '../../activities/policy/load-policy.ts';
import { parseWpk } from '../../domain/parse-wpk.ts';
import { printable } from '../../domain/printable.ts';
import { digestOfSteps, policyDenials, requirementFor } from '../../domain/policy.ts';
import { isSimulated } from '../../domain/simulation.ts';
import { sha256 } from '../sha256.ts';
import { inFile, readInput } from './files.ts';
import { markSimulated, printAs, say } from './output.ts';
import { planLines } from './render.ts';
import type { FormatOptions } from './settings.ts';
import { withFormat } from './settings.ts';

/** `byoc plan FILE`: what a package would do to the cluster of the current kubeconfig. Submits and writes nothing. */
export function registerPlan(program: Command): void {
  withFormat(program.command('plan'))
    .description('dry run and risk of a package against the current cluster; nothing is submitted')
    .argument('<file>', 'the package; it need not be signed yet')
    .option('--context <name>', "the kubeconfig's context, where it is not the current one")
    .option('--policy <file>', 'judge it under this policy')
    .addHelpText('after', '\nExample:\n  byoc plan restart-checkout.wpk.json --policy policy.yaml')
    .action(async (file: string, options: FormatOptions & { context?: string; policy?: string }) => {
      const bytes = await readInput(file);
      const wpk = await inFile(file, () => parseWpk(bytes));
      const policy = await inFile(options.policy ?? 'the built-in policy', policySource(options.policy, sha256));
      const api = createKubeApi(await kubeConfigOf(options.context, process.env));
      try {
        // A key of this run alone: masks can be compared within one plan, and with nothing else. Where Secrets change,
        // or under another policy, the digest is therefore not the one that the cluster will ask approval for.
        const planner = createPlanner({ api, sha256, mask: createMask(randomBytes(32)) });
        const { plan } = await makePlan(planner, sha256, { wpk, wpkDigest: sha256(bytes), policy });
        markSimulated(isSimulated(plan.clusterUid));
        const requirement = requirementFor(policy.policy, wpk, digestOfSteps(sha256, wpk), plan);
        const denials = policyDenials(policy.policy, wpk);
        const { clusterId } = wpk.target;
        const here = process.env['BYOC_CLUSTER_ID'];
        if (here && here !== clusterId) say(`It is for the cluster ${clusterId}; BYOC_CLUSTER_ID says ${here}.`);
        printAs(options.output, { plan, requirement, denials }, () => [
          ...planLines(plan),
          denials.length > 0
            ? `The policy does not allow it: ${printable(denials.join('; '))}.`
            : plan.problems.length > 0
              ? 'It would not be executed: the API server refuses parts of it.'
              : `Approval: ${requirement.reason}.`,
        ]);
        if (options.policy === undefined) {
          say('Judged under the built-in policy (--policy FILE for another): the digest is not the one to approve.');
        }
        if (plan.problems.length > 0 || denials.length > 0) process.exitCode = 1;
      } finally {
        await api.close();
      }
    });
}
