/**
 * All that `byoc doctor` can find, and what to do about each: the closed set that docs/doctor.md shows, row by row.
 *
 * `wrong` keeps the connector from doing its work, or breaks something that it promises; somebody has to act.
 * `unreachable` may be over without anybody acting here. `warning` works, and is less safe than it could be or soon a problem.
 */
export type Severity = 'wrong' | 'unreachable' | 'warning';

interface Entry {
  readonly severity: Severity;
  /** What to do. */
  readonly todo: string;
}

const wrong = (todo: string): Entry => ({ severity: 'wrong', todo });
const unreachable = (todo: string): Entry => ({ severity: 'unreachable', todo });
const warning = (todo: string): Entry => ({ severity: 'warning', todo });

export const FINDINGS = {
  // Any check
  CHECK_TIMED_OUT: unreachable(
    'Look at the network between here and there: something takes connections and is silent.',
  ),
  CHECK_FAILED: wrong('Report it with what BYOC_DEBUG=1 prints: this check met something that it does not know.'),

  // This process
  NODE_TOO_OLD: wrong('Use the image of the connector, or install Node.js 24.'),
  SETTING_WRONG: wrong('Set it as docs/settings.md says; the worker does not start until then.'),
  SETTING_UNKNOWN: warning('Remove it, or spell it as docs/settings.md does: nothing reads it.'),
  SIMULATED: warning('Unset SIMULATION for anything that is to be real.'),
  VERIFICATION_OFF: wrong('Unset it: certificates are always verified, and the worker does not start where it is set.'),
  PLAIN_HTTP: warning('Use https: in production nothing travels in clear, also not on this machine.'),

  // The disk
  DISK_UNWRITABLE: wrong('Mount a volume that this user may write (fsGroup of the pod) at BYOC_DATA_DIR.'),
  DISK_FULL: wrong('Make room: what cannot be recorded is not executed.'),
  DISK_SMALL: warning('Give it more room, or lower BYOC_AUDIT_LOCAL_MIB and BYOC_METRICS_LOCAL_MIB.'),
  DISK_OPEN: warning('chmod 700 the folder of BYOC_DATA_DIR: others can read who did what.'),

  // What is trusted
  POLICY_INVALID: wrong('Mend the policy file; byoc policy check FILE tells every problem. Nothing runs until then.'),
  POLICY_ASSERTED: warning('Set approvals.acceptAsserted to false and have approvers sign their votes.'),
  POLICY_IDLE: warning('Mend the entry of the allow-list, or remove it: it takes nothing.'),
  POLICY_UNPROTECTED: warning('Add kube-system to protectedNamespaces.'),
  TRUSTED_ROOT_INVALID: wrong('Make BYOC_TRUSTED_ROOT anew: cosign trusted-root create.'),
  SIGNING_KEYS_UNREADABLE: wrong(
    'Mend or delete the entry that is named; one broken entry makes all keys unavailable.',
  ),
  SIGNING_KEYS_NONE: wrong('Put a public key into Vault (docs/keys.md): no package is accepted without.'),
  SIGNING_KEYS_NONE_VALID: wrong(
    'Put another public key into Vault (docs/keys.md): no package is accepted until then.',
  ),
  SIGNING_KEY_EXPIRING: warning('Put its successor into Vault now; both count side by side (docs/keys.md).'),
  PAYLOAD_KEYS_UNREADABLE: wrong(
    'Mend the entry that is named (docs/data-protection.md): nothing is told to Temporal.',
  ),
  PAYLOAD_KEYS_NONE: wrong(
    'Run byoc vault setup --apply, which makes a first key: nothing is told to Temporal without.',
  ),
  PAYLOADS_PLAIN: warning('Set BYOC_PAYLOAD_CODEC to vault: Temporal sees manifests and plans in clear.'),
  APPROVERS_UNREADABLE: wrong('Mend or delete the entry that is named; until then no signed vote counts.'),
  APPROVERS_NONE: wrong(
    "Put approvers' keys into Vault or BYOC_APPROVERS (docs/keys.md): nobody can approve anything.",
  ),
  APPROVERS_TOO_FEW: warning("Add approvers' keys (docs/keys.md), or lower the quorum in the policy."),
  APPROVER_EXPIRING: warning("Put the approver's next key into Vault or BYOC_APPROVERS now."),

  // Temporal
  TEMPORAL_UNREACHABLE: unreachable('Is Temporal running, TEMPORAL_ADDRESS right, and the way open (NetworkPolicy)?'),
  TEMPORAL_CERTIFICATE: wrong(
    'Set TEMPORAL_TLS_SERVER_CA_CERT_PATH to the authority of its certificate, or mend that one.',
  ),
  TEMPORAL_SETTINGS: wrong('Mend the TEMPORAL_ settings or the profile; docs of @temporalio/envconfig tell each.'),
  TEMPORAL_DENIED: wrong('Renew TEMPORAL_API_KEY or the client certificate, and see what it may do in the namespace.'),
  TEMPORAL_NAMESPACE_MISSING: wrong(
    'Make it (temporal operator namespace create -n NAME), or mend TEMPORAL_NAMESPACE.',
  ),
  SEARCH_ATTRIBUTES_MISSING: warning(
    'temporal operator search-attribute create --type Keyword --name NAME, then restart the worker.',
  ),
  QUEUE_UNPOLLED: wrong('Start a worker with this role, and look at its log: what is on the queue waits.'),
  SCHEDULE_MISSING: wrong('Restart the worker: it makes its schedules at start.'),
  SCHEDULE_PAUSED: wrong('temporal schedule toggle --unpause --schedule-id ID --reason WHY, once the reason is over.'),
  SCHEDULE_FAILING: warning('Look at the last run in the Temporal UI, and at the log of the worker.'),

  // Vault
  VAULT_UNREACHABLE: unreachable(
    'Is VAULT_ADDR right, Vault running, and the way open (NetworkPolicy)? Try: vault status',
  ),
  VAULT_SEALED: unreachable('Unseal it: vault operator unseal.'),
  VAULT_CERTIFICATE: wrong("Set VAULT_CACERT to the authority of Vault's certificate, or mend that one."),
  VAULT_NOT_VAULT: wrong('Set VAULT_ADDR to the base address of Vault: what answers there is something else.'),
  VAULT_LOGIN_REFUSED: wrong(
    'Run byoc vault setup, then make a new secret_id (docs/vault.md) and put it where VAULT_SECRET_ID_FILE points.',
  ),
  VAULT_SECRET_ID_UNREADABLE: wrong('Mount the Secret with the secret_id where VAULT_SECRET_ID_FILE points.'),
  VAULT_WRAPPED_USED: warning(
    'Nothing, where the worker has used it at its start; else make another one, and find out who used this one.',
  ),
  VAULT_WRAPPED_ELSEWHERE: wrong('Find out who put it there: it was made at another path. Then wrap a new secret_id.'),
  VAULT_TOKEN_STATIC: warning('Log in by AppRole (docs/vault.md): VAULT_TOKEN is for development and is not renewed.'),
  VAULT_TOKEN_POWERFUL: wrong('Run byoc vault setup --apply, and log in by the AppRole that it makes.'),
  VAULT_TOKEN_SHORT: warning(
    'Run byoc vault setup --apply: tokens live for an hour then, and can be renewed for a day.',
  ),
  VAULT_RIGHT_MISSING: wrong('Run byoc vault setup --apply, as an administrator of Vault.'),
  VAULT_RIGHT_EXCESS: wrong('Run byoc vault setup --apply, and look at what else gives policies to this role.'),
  VAULT_JWT_WRONG: wrong('Run byoc vault setup --apply: others cannot tell by it which cluster this is.'),

  // Kubernetes
  KUBERNETES_UNREACHABLE: unreachable('Is KUBECONFIG right, and the way to the API server open? Try: kubectl version'),
  KUBERNETES_CERTIFICATE: wrong('Mend certificate-authority in the kubeconfig: the API server has another authority.'),
  KUBERNETES_SETTINGS: wrong('Mend the kubeconfig, or BYOC_KUBE_CONTEXT. Try: kubectl config view'),
  KUBERNETES_DENIED: wrong('Renew the credentials of the kubeconfig, or the service account of the pod.'),
  KUBERNETES_OLD: warning('Upgrade the cluster: versions before 1.31 were never tried.'),
  KUBERNETES_RIGHT_MISSING: wrong('Install the chart anew, or grant the right to the account that is named.'),
  APPLY_ACCOUNT_SHARED: warning(
    'Set BYOC_APPLY_SERVICE_ACCOUNT, as the chart does: packages have all rights of the connector.',
  ),
  APPLY_ACCOUNT_UNUSABLE: wrong(
    'Install the chart anew, or mend BYOC_APPLY_SERVICE_ACCOUNT: no package can be applied.',
  ),
  APPLY_ACCOUNT_EXCESS: wrong('Take the right away: with it a package could lift the freeze or read the keys.'),
  STATE_NAMESPACE_MISSING: wrong(
    'Install the chart, which makes it; with createStateNamespace false: kubectl create namespace byoc-system',
  ),
  POD_SECURITY_WEAK: warning('kubectl label namespace NAME pod-security.kubernetes.io/enforce=restricted'),
  FROZEN: wrong('Once it is safe: byoc resume --reason WHY. Nothing is written until then.'),
  FREEZE_MISSING: wrong(
    'byoc resume --reason WHY makes it: without the object that says "not frozen" everything is frozen.',
  ),

  // The audit bucket
  BUCKET_UNSET: warning('Set S3_BUCKET: the audit log lies on the disk of one pod only.'),
  S3_UNREACHABLE: unreachable('Are AWS_ENDPOINT_URL_S3 and AWS_REGION right, and the way open (NetworkPolicy)?'),
  S3_CERTIFICATE: wrong('Make the authority of its certificate known here, or mend the certificate.'),
  S3_CREDENTIALS: wrong('Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the role of the service account, anew.'),
  BUCKET_MISSING: wrong('Make it, with Object Lock: aws s3api create-bucket --object-lock-enabled-for-bucket …'),
  BUCKET_DENIED: wrong('Grant the rights on the bucket that docs/audit.md lists.'),
  OBJECT_LOCK_OFF: wrong('Make a bucket with Object Lock and set S3_BUCKET to it: here the audit log can be deleted.'),
  VERSIONING_OFF: wrong('aws s3api put-bucket-versioning … Status=Enabled: what is written over is gone for good.'),
  ENCRYPTION_UNSET: warning('Set BYOC_S3_SSE, or encrypt the bucket by default.'),

  // Metrics
  METRICS_CONFIG: wrong('Mend the file that BYOC_METRICS names (docs/cluster-metrics.md).'),
  PROMETHEUS_UNREACHABLE: unreachable('Is PROM_URL right, and the way open (NetworkPolicy)?'),
  PROMETHEUS_CERTIFICATE: wrong('Set BYOC_PROM_CA to the authority of its certificate, or mend that one.'),
  PROMETHEUS_DENIED: wrong(
    'Set PROM_TOKEN, PROM_USERNAME and PROM_PASSWORD, or BYOC_PROM_CERT as Prometheus wants it.',
  ),
  PROMETHEUS_QUERY: wrong('Mend the query in the file that BYOC_METRICS names; try it in the UI of Prometheus.'),
  INSIGHT_UNREACHABLE: unreachable('Is INSIGHT_URL right, and the way open? Metrics are kept for an hour meanwhile.'),
  INSIGHT_CERTIFICATE: wrong('Set BYOC_INSIGHT_CA to the authority of its certificate, or mend that one.'),
  INSIGHT_NOT_THERE: wrong(
    'Set INSIGHT_URL to the base address of the Insight Engine: what answers there is something else.',
  ),

  // The control plane and callers
  CONTROL_PLANE_UNREACHABLE: unreachable('Is CONTROL_PLANE_URL right, and the way open? Alerts are kept meanwhile.'),
  CONTROL_PLANE_CERTIFICATE: wrong('Set BYOC_CONTROL_PLANE_CA to the authority of its certificate, or mend that one.'),
  CONTROL_PLANE_NOT_THERE: wrong('Set CONTROL_PLANE_URL to its base address: what answers there is something else.'),
  AGENT_CERTIFICATE: wrong('Mend BYOC_AGENT_TLS_CERT and BYOC_AGENT_TLS_KEY: the certificate, its chain, and its key.'),
  CALLER_KEYS_UNREACHABLE: unreachable('Is the address in BYOC_AGENT_JWT_KEYS right, and the way there open?'),
  CALLER_KEYS_UNREADABLE: wrong('Mend BYOC_AGENT_JWT_KEYS (and BYOC_AGENT_JWT_CA): no caller can prove who they are.'),

  // Clocks and certificates of all parts
  CLOCK_OFF: wrong('Set the clock of whoever is wrong (NTP): tokens and signatures are refused when clocks differ.'),
  CERTIFICATE_EXPIRING: warning('Renew it in time; files are read again, so nothing is restarted.'),
  CERTIFICATE_EXPIRED: wrong('Renew it.'),
  CERTIFICATE_UNREADABLE: wrong('Mend the file: it holds no certificate in PEM.'),
} as const satisfies Record<string, Entry>;

export type FindingCode = keyof typeof FINDINGS;
