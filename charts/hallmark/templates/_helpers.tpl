{{- define "hallmark.selector" -}}
app.kubernetes.io/name: hallmark
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "hallmark.labels" -}}
{{ include "hallmark.selector" . }}
app.kubernetes.io/component: memory
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- /* What no schema can say well: each refusal names the value and the way out. */ -}}
{{- define "hallmark.check" -}}
{{- $v := .Values -}}
{{- $sqlite := eq $v.database.kind "sqlite" -}}
{{- if and $sqlite (gt (int $v.replicas) 1) }}{{ fail (printf "replicas: %d with database.kind sqlite: a SQLite file has one writer. Set database.kind to postgres for more than one replica." (int $v.replicas)) }}{{ end -}}
{{- if and $sqlite $v.autoscaling.enabled }}{{ fail "autoscaling.enabled with database.kind sqlite: a SQLite file has one writer. Set database.kind to postgres to scale." }}{{ end -}}
{{- if and $v.autoscaling.enabled (lt (int $v.autoscaling.maxReplicas) (int $v.autoscaling.minReplicas)) }}{{ fail "autoscaling.maxReplicas is below autoscaling.minReplicas." }}{{ end -}}
{{- if and (not $sqlite) (not $v.database.postgres.secretName) }}{{ fail "database.postgres.secretName: the Secret that holds the URL of the database is missing." }}{{ end -}}
{{- if not $v.access.secretName }}{{ fail "access.secretName: the Secret with the rules of access is missing. `hallmark serve token` makes an entry for it." }}{{ end -}}
{{- if and (not $v.tls.secretName) (not $v.tls.INSECUREPlainHTTP) }}{{ fail "tls.secretName: the Secret with the certificate is missing. tls.INSECUREPlainHTTP serves without, behind a proxy that encrypts." }}{{ end -}}
{{- if and $v.tls.secretName $v.tls.INSECUREPlainHTTP }}{{ fail "tls.secretName and tls.INSECUREPlainHTTP exclude each other." }}{{ end -}}
{{- if not (include "hallmark.policyArgs" .) }}{{ fail "policies: no hallmark.yaml is given, so no image could come in. Use --set-file policies.app\\.yaml=hallmark.yaml." }}{{ end -}}
{{- if and $v.webhook.secretName (not $v.webhook.url) }}{{ fail "webhook.secretName without webhook.url." }}{{ end -}}
{{- if and $v.prometheusRule.enabled (not (.Files.Glob "rules/*.yaml")) }}{{ fail "prometheusRule.enabled: this build of the chart holds no rules." }}{{ end -}}
{{- if and $v.dashboards.enabled (not (.Files.Glob "dashboards/*.json")) }}{{ fail "dashboards.enabled: this build of the chart holds no dashboards." }}{{ end -}}
{{- end }}

{{- define "hallmark.policyArgs" -}}
{{- range $name, $text := .Values.policies }}{{ if hasSuffix ".yaml" $name }}
- --policy=/etc/hallmark/policies/{{ $name }}
{{- end }}{{ end }}
{{- end }}

{{- define "hallmark.pod" -}}
{{- $v := .Values -}}
metadata:
  labels:
    {{- include "hallmark.labels" . | nindent 4 }}
    {{- with $v.podLabels }}{{ toYaml . | nindent 4 }}{{ end }}
  annotations:
    # The policies are read at the start: other policies, another Pod.
    hallmark.sh/policies: {{ $v.policies | toJson | sha256sum }}
    {{- with $v.podAnnotations }}{{ toYaml . | nindent 4 }}{{ end }}
spec:
  serviceAccountName: {{ $v.serviceAccount.name }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: 40
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: {type: RuntimeDefault}
  {{- with $v.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  containers:
    - name: hallmark
      image: {{ printf "%s@%s" $v.image.repository $v.image.digest }}
      imagePullPolicy: IfNotPresent
      args:
        - serve
        - --listen=:8470
        - --access=/etc/hallmark/access/{{ $v.access.key }}
        {{- include "hallmark.policyArgs" . | trim | nindent 8 }}
        {{- if $v.tls.secretName }}
        - --tls-cert=/etc/hallmark/tls/tls.crt
        - --tls-key=/etc/hallmark/tls/tls.key
        {{- else }}
        - --INSECURE-plain-http
        {{- end }}
        {{- with $v.webhook.url }}
        - --webhook={{ . }}
        {{- end }}
        {{- if $v.webhook.secretName }}
        - --webhook-secret-file=/etc/hallmark/webhook/{{ $v.webhook.key }}
        {{- end }}
      env:
        - name: HOME
          value: /tmp
        - name: HALLMARK_DB
          {{- if eq $v.database.kind "postgres" }}
          valueFrom:
            secretKeyRef: {name: {{ $v.database.postgres.secretName }}, key: {{ $v.database.postgres.key }}}
          {{- else }}
          value: /var/lib/hallmark/hallmark.db
          {{- end }}
        {{- if $v.registry.secretName }}
        - name: DOCKER_CONFIG
          value: /etc/hallmark/registry
        {{- end }}
      ports:
        - {name: api, containerPort: 8470}
      # A large store is read into memory before the first answer.
      startupProbe:
        {{- include "hallmark.probe" (dict "path" "/healthz" "tls" $v.tls.secretName) | nindent 8 }}
        periodSeconds: 5
        failureThreshold: 120
      livenessProbe:
        {{- include "hallmark.probe" (dict "path" "/healthz" "tls" $v.tls.secretName) | nindent 8 }}
        periodSeconds: 20
        timeoutSeconds: 5
      readinessProbe:
        {{- include "hallmark.probe" (dict "path" "/readyz" "tls" $v.tls.secretName) | nindent 8 }}
        periodSeconds: 5
        timeoutSeconds: 5
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      resources:
        {{- toYaml $v.resources | nindent 8 }}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        - {name: policies, mountPath: /etc/hallmark/policies, readOnly: true}
        - {name: access, mountPath: /etc/hallmark/access, readOnly: true}
        {{- if eq $v.database.kind "sqlite" }}
        - {name: data, mountPath: /var/lib/hallmark}
        {{- end }}
        {{- if $v.tls.secretName }}
        - {name: tls, mountPath: /etc/hallmark/tls, readOnly: true}
        {{- end }}
        {{- if $v.webhook.secretName }}
        - {name: webhook, mountPath: /etc/hallmark/webhook, readOnly: true}
        {{- end }}
        {{- if $v.registry.secretName }}
        - {name: registry, mountPath: /etc/hallmark/registry, readOnly: true}
        {{- end }}
  volumes:
    - name: tmp
      emptyDir: {sizeLimit: 1Gi}
    - name: policies
      configMap: {name: {{ .Release.Name }}-policies}
    - name: access
      secret: {secretName: {{ $v.access.secretName }}, defaultMode: 0440}
    {{- if $v.tls.secretName }}
    - name: tls
      secret: {secretName: {{ $v.tls.secretName }}, defaultMode: 0440}
    {{- end }}
    {{- if $v.webhook.secretName }}
    - name: webhook
      secret: {secretName: {{ $v.webhook.secretName }}, defaultMode: 0440}
    {{- end }}
    {{- if $v.registry.secretName }}
    - name: registry
      secret: {secretName: {{ $v.registry.secretName }}, defaultMode: 0440}
    {{- end }}
  {{- if eq $v.database.kind "postgres" }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: topology.kubernetes.io/zone
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "hallmark.selector" . | nindent 10 }}
  {{- end }}
  {{- with $v.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $v.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{- define "hallmark.probe" -}}
httpGet:
  path: {{ .path }}
  port: api
  scheme: {{ if .tls }}HTTPS{{ else }}HTTP{{ end }}
{{- end }}
