{{/* Name of the chart's objects: release and chart, at most 40 characters, so that what is added still makes a DNS label. */}}
{{- define "connector.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Labels by which pods are selected; they can never change. Takes root, and component where it is about one. */}}
{{- define "connector.selectorLabels" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end -}}

{{/* Takes root, and component where it is about one. */}}
{{- define "connector.labels" -}}
{{ include "connector.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: byoc
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/*
Metadata of an object. Takes root, and suffix, which follows the chart's own name; where there are any, component, and more
labels. It is in the namespace of the release, unless it has a namespace of its own.
*/}}
{{- define "connector.metadata" -}}
name: {{ printf "%s%s" (include "connector.fullname" .root) .suffix | quote }}
namespace: {{ default .root.Release.Namespace .namespace | quote }}
labels:
  {{- include "connector.labels" . | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "connector.image" -}}
{{- $tag := default .Chart.AppVersion .Values.image.tag -}}
{{- with .Values.image.digest -}}
{{ printf "%s:%s@%s" $.Values.image.repository $tag . }}
{{- else -}}
{{ printf "%s:%s" .Values.image.repository $tag }}
{{- end -}}
{{- end -}}

{{/* Where pods can run: the image is one for Linux. Takes what else their nodes must have. */}}
{{- define "connector.nodeSelector" -}}
{{- toYaml (merge (dict "kubernetes.io/os" "linux") .) -}}
{{- end -}}

{{/* What pod security *restricted* asks of a pod. */}}
{{- define "connector.podSecurityContext" -}}
runAsNonRoot: true
{{- with .Values.podSecurityContext.runAsUser }}
runAsUser: {{ . | int64 }}
{{- end }}
{{- with .Values.podSecurityContext.runAsGroup }}
runAsGroup: {{ . | int64 }}
fsGroup: {{ . | int64 }}
fsGroupChangePolicy: OnRootMismatch
{{- end }}
seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{/* And of a container; besides, its root file system is read-only. */}}
{{- define "connector.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end -}}

{{/* The roles that have pods: registration where there is a control plane, metrics where there is a Prometheus. */}}
{{- define "connector.roles" -}}
execution
{{- if .Values.controlPlane.url }} registration{{ end }}
{{- if .Values.prometheus.url }} metrics{{ end }}
{{- end -}}

{{- define "connector.policyConfigMap" -}}
{{- default (printf "%s-policy" (include "connector.fullname" .)) .Values.policy.existingConfigMap -}}
{{- end -}}

{{/* The policy as the pods read it: the connector's own namespaces are always protected, whatever else it protects. */}}
{{- define "connector.policyDocument" -}}
{{- $policy := deepCopy .Values.policy.document -}}
{{- $listed := ternary $policy.protectedNamespaces (list "kube-system" "kube-public" "kube-node-lease") (hasKey $policy "protectedNamespaces") -}}
{{- toYaml (set $policy "protectedNamespaces" (concat $listed (list .Values.stateNamespace .Release.Namespace) | uniq)) -}}
{{- end -}}

{{/* Name by which others in the cluster call the agent's API of a role: that of its Service. Takes root and role. */}}
{{- define "connector.agentName" -}}
{{ include "connector.fullname" .root }}-{{ .role }}.{{ .root.Release.Namespace }}.svc
{{- end -}}

{{- define "connector.agentNames" -}}
{{- $names := list -}}
{{- range $role := splitList " " (include "connector.roles" .) -}}
{{- $names = append $names (include "connector.agentName" (dict "root" $ "role" $role)) -}}
{{- end -}}
{{- join ", " $names -}}
{{- end -}}

{{- define "connector.serviceAccountName" -}}
{{ include "connector.fullname" .root }}-{{ .role }}
{{- end -}}
