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

{{- define "connector.selectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "connector.labels" -}}
{{ include "connector.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: byoc
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
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

{{/* The policy as the pods read it: the connector's own namespaces are protected, unless the policy has a list of its own. */}}
{{- define "connector.policyDocument" -}}
{{- $own := dict "protectedNamespaces" (list "kube-system" "kube-public" "kube-node-lease" .Values.stateNamespace .Release.Namespace) -}}
{{- toYaml (mergeOverwrite $own .Values.policy.document) -}}
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
