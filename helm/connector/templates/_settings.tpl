{{/* What must be there, and what does not go together, told in words before anything is made. */}}
{{- define "connector.check" -}}
{{- $v := .Values -}}
{{- $missing := list -}}
{{- if not $v.clusterId -}}{{- $missing = append $missing "clusterId: the name of this cluster; packages are addressed to it, and it never changes" -}}{{- end -}}
{{- if not $v.temporal.address -}}{{- $missing = append $missing "temporal.address: HOST:PORT of the Temporal service" -}}{{- end -}}
{{- if not $v.temporal.namespace -}}{{- $missing = append $missing "temporal.namespace: a Temporal namespace of your own" -}}{{- end -}}
{{- if not $v.agent.tls.existingSecret -}}{{- $missing = append $missing (printf "agent.tls.existingSecret: a Secret with tls.crt and tls.key for the names %s" (include "connector.agentNames" .)) -}}{{- end -}}
{{- if not (or $v.vault.address $v.cosign.existingSecret) -}}{{- $missing = append $missing "vault.address, or cosign.existingSecret: where the public keys of signers are" -}}{{- end -}}
{{- if and (or $v.controlPlane.url $v.prometheus.url) (not $v.vault.address) -}}{{- $missing = append $missing "vault.address: control plane and Insight Engine know a cluster by what its Vault says" -}}{{- end -}}
{{- if and $v.prometheus.url (not $v.insight.url) -}}{{- $missing = append $missing "insight.url: where the metrics of prometheus.url go" -}}{{- end -}}
{{- if and (ne $v.prometheus.auth "none") (not $v.prometheus.existingSecret) -}}{{- $missing = append $missing "prometheus.existingSecret: the login that prometheus.auth speaks of" -}}{{- end -}}
{{- if and (eq $v.prometheus.auth "none") $v.prometheus.existingSecret -}}{{- $missing = append $missing "prometheus.auth: how the login of prometheus.existingSecret is shown, token or basic" -}}{{- end -}}
{{- with $v.agent -}}
{{- if and .clients.existingSecret (not .clients.names) -}}{{- $missing = append $missing "agent.clients.names: which of the certificates may send packages" -}}{{- end -}}
{{- if and .clients.names (not .clients.existingSecret) -}}{{- $missing = append $missing "agent.clients.existingSecret: the authority of the certificates of agent.clients.names" -}}{{- end -}}
{{- if and .jwt.keysUrl (not .jwt.issuer) -}}{{- $missing = append $missing "agent.jwt.issuer: whose tokens the keys of agent.jwt.keysUrl are for" -}}{{- end -}}
{{- if and .jwt.issuer (not .jwt.keysUrl) -}}{{- $missing = append $missing "agent.jwt.keysUrl: the public keys of agent.jwt.issuer" -}}{{- end -}}
{{- end -}}
{{- if and $v.s3.kmsKeyId (ne $v.s3.encryption "aws:kms") -}}{{- $missing = append $missing "s3.encryption: aws:kms, which s3.kmsKeyId is for" -}}{{- end -}}
{{- if and $v.serviceMonitor.enabled (not $v.agent.tls.caKey) -}}{{- $missing = append $missing "agent.tls.caKey: by it the scrape of the ServiceMonitor verifies the certificate of port 8005" -}}{{- end -}}
{{- if $v.vault.address -}}
{{- range $role := concat (splitList " " (include "connector.roles" .)) (ternary (list "codecServer") list $v.codecServer.enabled) -}}
{{- $login := (index $v $role).vault -}}
{{- if not (and $login.roleId $login.existingSecret) -}}{{- $missing = append $missing (printf "%s.vault.roleId and .existingSecret: the AppRole of this role" $role) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- if $v.networkPolicy.enabled -}}
{{- range $name := include "connector.destinations" (dict "root" . "role" "*") | splitList " " | uniq -}}
{{- $to := index $v.networkPolicy $name -}}
{{- $gateway := $v.networkPolicy.egressGateway -}}
{{- if not (or $to.cidrs $to.selectors (and (not (has $name (list "dns" "kubernetesApi"))) (or $gateway.cidrs $gateway.selectors))) -}}
{{- $missing = append $missing (printf "networkPolicy.%s.cidrs or .selectors: nothing that is not named is reached (any address: [0.0.0.0/0])" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- with $v.codecServer -}}
{{- if .enabled -}}
{{- if not .tls.existingSecret -}}{{- $missing = append $missing "codecServer.tls.existingSecret: a Secret with tls.crt and tls.key for the name that browsers call it by" -}}{{- end -}}
{{- if not .origins -}}{{- $missing = append $missing "codecServer.origins: where the Temporal UI is" -}}{{- end -}}
{{- if not (and .jwt.issuer .jwt.keysUrl) -}}{{- $missing = append $missing "codecServer.jwt.issuer and .keysUrl: whose tokens may read" -}}{{- end -}}
{{- if not $v.vault.address -}}{{- $missing = append $missing "vault.address: where the key of the payloads is" -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- if $missing -}}
{{- fail (printf "\n\nThese values are missing:\n  - %s\n" (join "\n  - " $missing)) -}}
{{- end -}}
{{- $name := include "connector.fullname" . -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) -}}
{{- fail (printf "\n\nThe objects of this release would be called %s-…, which a Service must not be: set fullnameOverride to lower-case letters, digits and dashes, a letter first." $name) -}}
{{- end -}}
{{- range $namespace := list .Release.Namespace $v.stateNamespace -}}
{{- if hasPrefix "kube-" $namespace -}}
{{- fail (printf "\n\n%s is a namespace of Kubernetes itself: the connector and its state are in namespaces of their own." $namespace) -}}
{{- end -}}
{{- end -}}
{{- if eq $v.stateNamespace .Release.Namespace -}}
{{- fail (printf "\n\nThe release is installed into %s, which is stateNamespace: install it into another one, with --namespace." .Release.Namespace) -}}
{{- end -}}
{{- if and (eq $v.temporal.payloadCodec "vault") (not $v.vault.address) -}}
{{- fail "\n\ntemporal.payloadCodec is vault, and vault.address is not set: say where the key is, or set it to \"off\"." -}}
{{- end -}}
{{- if and $v.temporal.apiKey.existingSecret $v.temporal.tls.existingSecret -}}
{{- fail "\n\ntemporal.apiKey and temporal.tls.existingSecret are two ways to log in to Temporal: set one." -}}
{{- end -}}
{{- range $what, $ca := dict "temporal.tls.ca" $v.temporal.tls.ca "vault.ca" $v.vault.ca "controlPlane.ca" $v.controlPlane.ca "prometheus.ca" $v.prometheus.ca "insight.ca" $v.insight.ca "s3.ca" $v.s3.ca "agent.jwt.ca" $v.agent.jwt.ca "codecServer.jwt.ca" $v.codecServer.jwt.ca -}}
{{- if and $ca.existingSecret $ca.existingConfigMap -}}
{{- fail (printf "\n\n%s names a Secret and a ConfigMap: set one." $what) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
Whom the pods of a role talk to by TLS: by what each is verified, and what we show it (docs/tls.md). Takes root and role.
*/}}
{{- define "connector.services" -}}
{{- $v := .root.Values -}}
services:
  - { name: temporal, ca: {{ toJson $v.temporal.tls.ca }}, cert: {{ $v.temporal.tls.existingSecret | quote }}, env: [TEMPORAL_TLS_SERVER_CA_CERT_PATH, TEMPORAL_TLS_CLIENT_CERT_PATH, TEMPORAL_TLS_CLIENT_KEY_PATH] }
{{- if $v.vault.address }}
  - { name: vault, ca: {{ toJson $v.vault.ca }}, cert: {{ $v.vault.clientCertificateSecret | quote }}, env: [VAULT_CACERT, VAULT_CLIENT_CERT, VAULT_CLIENT_KEY] }
{{- end }}
{{- if and $v.s3.bucket (ne .role "codecServer") }}
  - { name: s3, ca: {{ toJson $v.s3.ca }}, cert: {{ $v.s3.clientCertificateSecret | quote }}, env: [AWS_CA_BUNDLE, BYOC_S3_CERT, BYOC_S3_KEY] }
{{- end }}
{{- if eq .role "execution" }}
{{- if $v.agent.jwt.keysUrl }}
  - { name: agent-keys, ca: {{ toJson $v.agent.jwt.ca }}, cert: {{ $v.agent.jwt.clientCertificateSecret | quote }}, env: [BYOC_AGENT_JWT_CA, BYOC_AGENT_JWT_CLIENT_CERT, BYOC_AGENT_JWT_CLIENT_KEY] }
{{- end }}
{{- else if eq .role "codecServer" }}
  - { name: reader-keys, ca: {{ toJson $v.codecServer.jwt.ca }}, cert: "", env: [BYOC_CODEC_JWT_CA] }
{{- else if eq .role "registration" }}
  - { name: control-plane, ca: {{ toJson $v.controlPlane.ca }}, cert: {{ $v.controlPlane.clientCertificateSecret | quote }}, env: [BYOC_CONTROL_PLANE_CA, BYOC_CONTROL_PLANE_CERT, BYOC_CONTROL_PLANE_KEY] }
{{- else }}
  - { name: prometheus, ca: {{ toJson $v.prometheus.ca }}, cert: {{ $v.prometheus.clientCertificateSecret | quote }}, env: [BYOC_PROM_CA, BYOC_PROM_CERT, BYOC_PROM_KEY] }
  - { name: insight, ca: {{ toJson $v.insight.ca }}, cert: {{ $v.insight.clientCertificateSecret | quote }}, env: [BYOC_INSIGHT_CA, BYOC_INSIGHT_CERT, BYOC_INSIGHT_KEY] }
{{- end }}
{{- end -}}

{{/*
Environment of a worker: what the chart knows, then what extraEnv adds to it. What values of their own say, and what keeps a worker
safe, extraEnv cannot say otherwise: of two variables of one name kubelets take the last. Takes root and role.
*/}}
{{- define "connector.env" -}}
{{- $known := include "connector.env.own" . -}}
{{- $taken := list "BYOC_SIMULATION_ALLOWED" -}}
{{- $unverified := list "NODE_TLS_REJECT_UNAUTHORIZED" "VAULT_SKIP_VERIFY" "BAO_SKIP_VERIFY" "TEMPORAL_TLS_DISABLE_HOST_VERIFICATION" -}}
{{- range $known | fromYamlArray }}{{ $taken = append $taken .name }}{{ end -}}
{{- $extra := list -}}
{{- $more := (index .root.Values .role).extraEnv -}}
{{- range $more -}}
{{- if has .name $taken -}}
{{- fail (printf "\n\n%s.extraEnv must not hold %s, which the chart sets itself; values.yaml says by which value it can be set, if it can." $.role .name) -}}
{{- end -}}
{{- if has .name $unverified -}}
{{- fail (printf "\n\n%s.extraEnv must not hold %s: nothing may turn the check of certificates off." $.role .name) -}}
{{- end -}}
{{- $extra = append $extra .name -}}
{{- end -}}
{{- if ne (len $extra) (uniq $extra | len) -}}
{{- fail (printf "\n\n%s.extraEnv holds a variable twice." .role) -}}
{{- end -}}
{{ $known }}
{{- range $name, $value := include "connector.runtime" .role | fromYaml }}
{{- if not (has $name $extra) }}
- { name: {{ $name }}, value: {{ $value | quote }} }
{{- end }}
{{- end }}
{{- with $more }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "connector.env.own" -}}
{{- $v := .root.Values -}}
- { name: NODE_ENV, value: production }
- { name: SIMULATION, value: 'false' }
- { name: BYOC_CLUSTER_ID, value: {{ $v.clusterId | quote }} }
- { name: BYOC_DATA_DIR, value: /var/lib/byoc }
- { name: BYOC_POLICY, value: /etc/byoc/policy/policy.yaml }
- { name: BYOC_AGENT_PORT, value: '8005' }
- { name: BYOC_AGENT_TLS_CERT, value: /etc/byoc/agent-tls/tls.crt }
- { name: BYOC_AGENT_TLS_KEY, value: /etc/byoc/agent-tls/tls.key }
- { name: BYOC_STATE_NAMESPACE, value: {{ $v.stateNamespace | quote }} }
- { name: BYOC_HEADS_NAMESPACE, value: {{ .root.Release.Namespace | quote }} }
- { name: LOG_LEVEL, value: {{ $v.logLevel }} }
{{- if not $v.controlPlane.url }}
# There is nobody who would send them on.
- { name: BYOC_ALERT_RELAY, value: 'off' }
{{- end }}
- { name: HOME, value: /tmp }
- name: BYOC_WRITER
  valueFrom: { fieldRef: { fieldPath: metadata.name } }
- name: NODE_NAME
  valueFrom: { fieldRef: { fieldPath: spec.nodeName } }
{{ include "connector.env.connections" . }}
{{- with $v.s3 }}
{{- if .bucket }}
- { name: S3_BUCKET, value: {{ .bucket | quote }} }
- { name: AWS_REGION, value: {{ .region | quote }} }
{{- with .endpoint }}
- { name: AWS_ENDPOINT_URL_S3, value: {{ . | quote }} }
{{- end }}
{{- with .encryption }}
- { name: BYOC_S3_SSE, value: {{ . | quote }} }
{{- end }}
{{- with .kmsKeyId }}
- { name: BYOC_S3_KMS_KEY_ID, value: {{ . | quote }} }
{{- end }}
{{- if .existingSecret }}
{{- range $key := list "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY" }}
- name: {{ $key }}
  valueFrom: { secretKeyRef: { name: {{ $v.s3.existingSecret | quote }}, key: {{ $key }} } }
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- if eq .role "execution" }}
- { name: BYOC_APPLY_SERVICE_ACCOUNT, value: {{ printf "%s/%s-apply" .root.Release.Namespace (include "connector.fullname" .root) | quote }} }
{{- end }}
{{- include (printf "connector.env.%s" .role) $v }}
{{- end -}}

{{/* What keeps the memory of a role small, as it was measured (docs/roles.md). Takes the role; extraEnv goes before it. */}}
{{- define "connector.runtime" -}}
MALLOC_TRIM_THRESHOLD_: '65536'
{{- if eq . "execution" }}
MALLOC_ARENA_MAX: '2'
NODE_OPTIONS: --max-semi-space-size=2
{{- else }}
MALLOC_ARENA_MAX: '1'
TOKIO_WORKER_THREADS: '1'
UV_THREADPOOL_SIZE: '2'
NODE_OPTIONS: --max-semi-space-size=1 --v8-pool-size=1
{{- end }}
{{- end -}}

{{/* How Temporal and Vault are reached, and by what each service is verified. */}}
{{- define "connector.env.connections" -}}
{{- $v := .root.Values -}}
{{- $mine := index $v .role -}}
- { name: TEMPORAL_ADDRESS, value: {{ $v.temporal.address | quote }} }
- { name: TEMPORAL_NAMESPACE, value: {{ $v.temporal.namespace | quote }} }
- { name: TEMPORAL_TLS, value: 'true' }
{{- with $v.temporal.tls.serverName }}
- { name: TEMPORAL_TLS_SERVER_NAME, value: {{ . | quote }} }
{{- end }}
{{- with $v.temporal.apiKey }}
{{- if .existingSecret }}
- { name: TEMPORAL_API_KEY_FILE, value: /etc/byoc/temporal-login/api-key }
{{- end }}
{{- end }}
{{- if $v.vault.address }}
- { name: VAULT_ADDR, value: {{ $v.vault.address | quote }} }
- { name: VAULT_ROLE_ID, value: {{ $mine.vault.roleId | quote }} }
- { name: VAULT_SECRET_ID_FILE, value: /etc/byoc/vault-login/secret-id }
{{- with $mine.vault.wrappedAt }}
- { name: VAULT_SECRET_ID_WRAPPED_AT, value: {{ . | quote }} }
{{- end }}
{{- with $v.vault.namespace }}
- { name: VAULT_NAMESPACE, value: {{ . | quote }} }
{{- end }}
{{- end }}
{{- range (include "connector.services" . | fromYaml).services }}
{{- if or .ca.existingSecret .ca.existingConfigMap }}
- { name: {{ index .env 0 }}, value: /etc/byoc/{{ .name }}-ca/ca.crt }
{{- end }}
{{- if .cert }}
- { name: {{ index .env 1 }}, value: /etc/byoc/{{ .name }}-tls/tls.crt }
- { name: {{ index .env 2 }}, value: /etc/byoc/{{ .name }}-tls/tls.key }
{{- end }}
{{- end }}
{{- end -}}

{{- define "connector.env.execution" }}
- { name: BYOC_PAYLOAD_CODEC, value: {{ .temporal.payloadCodec | quote }} }
{{- if .cosign.existingSecret }}
- { name: COSIGN_KEY, value: /etc/byoc/signers/cosign.pub }
{{- end }}
{{- if .approvers.existingConfigMap }}
- { name: BYOC_APPROVERS, value: /etc/byoc/approvers/approvers.yaml }
{{- end }}
{{- if .cosign.trustedRootConfigMap }}
- { name: BYOC_TRUSTED_ROOT, value: /etc/byoc/trusted-root/trusted_root.json }
{{- end }}
{{- with .agent }}
- { name: BYOC_AGENT_RATE, value: {{ .packagesPerMinute | quote }} }
{{- if .clients.existingSecret }}
- { name: BYOC_AGENT_CLIENT_CA, value: /etc/byoc/agent-clients/ca.crt }
- { name: BYOC_AGENT_CLIENT_NAMES, value: {{ join "," .clients.names | quote }} }
{{- end }}
{{- if .jwt.issuer }}
- { name: BYOC_AGENT_JWT_ISSUER, value: {{ .jwt.issuer | quote }} }
- { name: BYOC_AGENT_JWT_KEYS, value: {{ .jwt.keysUrl | quote }} }
{{- with .jwt.audience }}
- { name: BYOC_AGENT_JWT_AUDIENCE, value: {{ . | quote }} }
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "connector.env.registration" }}
- { name: CONTROL_PLANE_URL, value: {{ .controlPlane.url | quote }} }
- { name: BYOC_CONTROL_PLANE_LOST_SECONDS, value: {{ .controlPlane.lostSeconds | quote }} }
{{- with .clusterLabels }}
{{- $labels := list }}
{{- range $name, $value := . }}{{ $labels = append $labels (printf "%s=%s" $name $value) }}{{ end }}
- { name: BYOC_LABELS, value: {{ join "," $labels | quote }} }
{{- end }}
{{- end -}}

{{- define "connector.env.metrics" }}
- { name: PROM_URL, value: {{ .prometheus.url | quote }} }
- { name: INSIGHT_URL, value: {{ .insight.url | quote }} }
{{- if eq .prometheus.auth "token" }}
- name: PROM_TOKEN
  valueFrom: { secretKeyRef: { name: {{ .prometheus.existingSecret | quote }}, key: token } }
{{- else if eq .prometheus.auth "basic" }}
- name: PROM_USERNAME
  valueFrom: { secretKeyRef: { name: {{ .prometheus.existingSecret | quote }}, key: username } }
- name: PROM_PASSWORD
  valueFrom: { secretKeyRef: { name: {{ .prometheus.existingSecret | quote }}, key: password } }
{{- end }}
{{- if .prometheus.queries }}
- { name: BYOC_METRICS, value: /etc/byoc/queries/metrics.yaml }
{{- end }}
{{- end -}}

{{/* What the pods of a role read from files: a list of name, and secret or configMap, with the keys and their file names. */}}
{{- define "connector.files" -}}
{{- $v := .root.Values -}}
{{- $mine := index $v .role -}}
{{- $files := list -}}
{{- $files = append $files (dict "name" "policy" "configMap" (include "connector.policyConfigMap" .root) "items" (dict "policy.yaml" "policy.yaml")) -}}
{{- $files = append $files (dict "name" "agent-tls" "secret" $v.agent.tls.existingSecret "items" (dict "tls.crt" "tls.crt" "tls.key" "tls.key")) -}}
{{- if $v.vault.address -}}
{{- $files = append $files (dict "name" "vault-login" "secret" $mine.vault.existingSecret "items" (dict "secret-id" "secret-id")) -}}
{{- end -}}
{{- if eq .role "execution" -}}
{{- if $v.cosign.existingSecret -}}
{{- $files = append $files (dict "name" "signers" "secret" $v.cosign.existingSecret "items" (dict $v.cosign.key "cosign.pub")) -}}
{{- end -}}
{{- with $v.approvers -}}
{{- if .existingConfigMap -}}{{- $files = append $files (dict "name" "approvers" "configMap" .existingConfigMap "items" (dict .key "approvers.yaml")) -}}{{- end -}}
{{- end -}}
{{- with $v.cosign -}}
{{- if .trustedRootConfigMap -}}{{- $files = append $files (dict "name" "trusted-root" "configMap" .trustedRootConfigMap "items" (dict .trustedRootKey "trusted_root.json")) -}}{{- end -}}
{{- end -}}
{{- with $v.agent.clients.existingSecret -}}{{- $files = append $files (dict "name" "agent-clients" "secret" . "items" (dict "ca.crt" "ca.crt")) -}}{{- end -}}
{{- end -}}
{{- if eq .role "metrics" -}}
{{- if $v.prometheus.queries -}}{{- $files = append $files (dict "name" "queries" "configMap" (printf "%s-queries" (include "connector.fullname" .root)) "items" (dict "metrics.yaml" "metrics.yaml")) -}}{{- end -}}
{{- end -}}
{{- $files = concat $files (include "connector.serviceFiles" . | fromYaml).files -}}
{{- toYaml (dict "files" $files) -}}
{{- end -}}

{{/* Of them, what is for whom the pods talk to: TLS, and the login to Temporal, which are read again when they change. */}}
{{- define "connector.serviceFiles" -}}
{{- $files := list -}}
{{- with .root.Values.temporal.apiKey -}}
{{- if .existingSecret -}}{{- $files = append $files (dict "name" "temporal-login" "secret" .existingSecret "items" (dict .key "api-key")) -}}{{- end -}}
{{- end -}}
{{- range (include "connector.services" . | fromYaml).services -}}
{{- $items := dict .ca.key "ca.crt" -}}
{{- $name := printf "%s-ca" .name -}}
{{- with .ca.existingSecret -}}{{- $files = append $files (dict "name" $name "secret" . "items" $items) -}}{{- end -}}
{{- with .ca.existingConfigMap -}}{{- $files = append $files (dict "name" $name "configMap" . "items" $items) -}}{{- end -}}
{{- $name = printf "%s-tls" .name -}}
{{- with .cert -}}{{- $files = append $files (dict "name" $name "secret" . "items" (dict "tls.crt" "tls.crt" "tls.key" "tls.key")) -}}{{- end -}}
{{- end -}}
{{- toYaml (dict "files" $files) -}}
{{- end -}}

{{/* Volumes of such a list. */}}
{{- define "connector.volumes" -}}
{{- range . }}
- name: {{ .name }}
  {{- if .secret }}
  secret:
    secretName: {{ .secret | quote }}
  {{- else }}
  configMap:
    name: {{ .configMap | quote }}
  {{- end }}
    defaultMode: 0440
    items:
      {{- range $key, $path := .items }}
      - { key: {{ $key | quote }}, path: {{ $path }} }
      {{- end }}
{{- end }}
{{- end -}}
