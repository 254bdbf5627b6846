import type { Value } from './values.ts';

const HEAD = `<!-- Made from values.yaml: npx node dev/chart/generate.ts -->

# Chart of the connector

Installs the [NeuralOps BYOC Connector](../../README.md): its workers, what they may do, whom they may talk to, and how they are
watched. From nothing to the first approved package: [docs/install.md](../../docs/install.md).

\`\`\`sh
helm upgrade --install byoc helm/connector --namespace byoc --create-namespace --values my-values.yaml --wait
helm test byoc --namespace byoc
\`\`\`

The least that \`my-values.yaml\` says is in [ci/minimal-values.yaml](ci/minimal-values.yaml), everything at once in
[ci/full-values.yaml](ci/full-values.yaml). What is missing or does not go together is told before anything is made; a value
that is misspelt is an error, and so is \`null\`, but for user and group of the pods: what is to have its default is left out.

## What it makes

| role | workload | why |
|---|---|---|
| execution | DaemonSet, or a StatefulSet with a volume a pod | all pods work on one task queue in Temporal: more pods are more packages at a time, and one that ends is missed by nobody |
| registration | Deployment with one pod, where there is a control plane | one heartbeat a cluster: Temporal starts each once, so a second pod would only wait |
| metrics | Deployment with one pod, never two, where there is a Prometheus | each pod would send the cluster's metrics again |

Each role has a service account, a login in Vault, a NetworkPolicy and a Service (port 8005) of its own,
and a PodDisruptionBudget but for the DaemonSet, whose pods drains leave alone.
The pods meet pod security *restricted*: \`kubectl label namespace byoc pod-security.kubernetes.io/enforce=restricted\`.

**Secrets** are made by you, before: the chart takes names of Secrets only, so that none is in values, in releases or in git.
Each role mounts those that it needs and no others.

**The audit log** is in the bucket before a package writes anything, so with a bucket an emptyDir is enough. Without one, or where
the last seconds of what is *not* about packages matter too, take the StatefulSet: its volumes stay when it is deleted.

**The policy** is a ConfigMap; another one makes new pods, one by one. Each decision reads it anew besides.

**Memory.** Requests are what a role was measured to take idle, with some more ([docs/roles.md](../../docs/roles.md#memory-and-start)); 128Mi, the first plan, was less than Node with Temporal's client takes. Limits are what it
may have: Node collects garbage later than it could where there is room.

## Values

| value | default | |
|---|---|---|
`;

/** README.md of the chart, with a row for each value. */
export function readmeOf(values: readonly Value[]): string {
  const rows = values.map(({ path, preset, description, schema }) => {
    const allowed = Array.isArray(schema['enum']) ? ` One of ${schema['enum'].map(code).join(', ')}.` : '';
    return `| \`${path}\` | ${code(preset)} | ${cell(description + (mentions(description, schema) ? '' : allowed))} |`;
  });
  return `${HEAD}${rows.join('\n')}\n`;
}

/** Whether the description names each allowed value already. */
function mentions(description: string, schema: Value['schema']): boolean {
  const allowed: unknown = schema['enum'];
  return Array.isArray(allowed) && allowed.every((one) => one === '' || description.includes(`\`${String(one)}\``));
}

function code(preset: unknown): string {
  return `\`${cell(JSON.stringify(preset))}\``;
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|');
}
