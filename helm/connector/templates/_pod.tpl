{{/* The pod of a role, as a template of a workload. Takes root and role. */}}
{{- define "connector.pod" -}}
{{- $v := .root.Values -}}
{{- $mine := index $v .role -}}
{{- $files := (include "connector.files" . | fromYaml).files -}}
{{- $labels := dict "root" .root "component" .role -}}
metadata:
  labels: {{- include "connector.labels" $labels | nindent 4 }}
  annotations:
    kubectl.kubernetes.io/default-container: worker
    {{- if not $v.policy.existingConfigMap }}
    # Another policy makes other pods; workers would also notice by themselves.
    checksum/policy: {{ include "connector.policyDocument" .root | sha256sum }}
    {{- end }}
    {{- if and (eq .role "metrics") $v.prometheus.queries }}
    checksum/queries: {{ toYaml $v.prometheus.queries | sha256sum }}
    {{- end }}
    {{- with $mine.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "connector.serviceAccountName" . }}
  automountServiceAccountToken: true
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ $v.terminationGracePeriodSeconds }}
  securityContext: {{- include "connector.podSecurityContext" .root | nindent 4 }}
  {{- with $v.priorityClassName }}
  priorityClassName: {{ . | quote }}
  {{- end }}
  {{- with $v.image.pullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  nodeSelector: {{- include "connector.nodeSelector" $mine.nodeSelector | nindent 4 }}
  {{- with concat $v.tolerations $mine.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $v.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- /* A DaemonSet has a pod on each node: there is nothing to spread. */}}
  {{- if not (and (eq .role "execution") (eq $v.execution.kind "DaemonSet")) }}
  {{- with $v.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- $selector := dict "matchLabels" (include "connector.selectorLabels" $labels | fromYaml) }}
    {{- range . }}
    - {{- merge (dict "labelSelector" $selector) . | toYaml | nindent 6 }}
    {{- end }}
  {{- end }}
  {{- end }}
  containers:
    - name: worker
      image: {{ include "connector.image" .root | quote }}
      imagePullPolicy: {{ $v.image.pullPolicy }}
      args: ['--role', {{ .role }}]
      securityContext: {{- include "connector.securityContext" .root | nindent 8 }}
      env: {{- include "connector.env" . | nindent 8 }}
      ports:
        - { name: agent, containerPort: 8005, protocol: TCP }
      # It listens once it is ready for the first time.
      startupProbe:
        httpGet: { path: /health/live, port: agent, scheme: HTTPS }
        periodSeconds: 2
        failureThreshold: 60
      livenessProbe:
        httpGet: { path: /health/live, port: agent, scheme: HTTPS }
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: { path: /health/ready, port: agent, scheme: HTTPS }
        periodSeconds: 5
        timeoutSeconds: 3
        failureThreshold: 2
      resources: {{- toYaml $mine.resources | nindent 8 }}
      volumeMounts:
        - { name: data, mountPath: /var/lib/byoc }
        - { name: tmp, mountPath: /tmp }
        {{- range $files }}
        - { name: {{ .name }}, mountPath: /etc/byoc/{{ .name }}, readOnly: true }
        {{- end }}
  volumes:
    - { name: tmp, emptyDir: { sizeLimit: 64Mi } }
    {{- if not (and (eq .role "execution") (eq $v.execution.kind "StatefulSet")) }}
    # What counts is in the bucket before it counts; this may vanish with the pod.
    - { name: data, emptyDir: { sizeLimit: 256Mi } }
    {{- end }}
    {{- include "connector.volumes" $files | trim | nindent 4 }}
{{- end -}}
