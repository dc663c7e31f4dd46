{{/* What the pods of operators have in common: `region` with the servers' administrators' passwords (Secret `<name>-operate`). */}}

{{- define "imaging.settings.operate" -}}
{{- $services := dict -}}
{{- range $service, $plan := include "imaging.plan" . | fromYaml }}{{ $_ := set $services $service (include "imaging.url" (list $ $service)) }}{{ end -}}
REGION_SERVICES: {{ $services | toJson | quote }}
REGION_KAFKA_BOOTSTRAP: {{ include "imaging.kafkaBootstrap" . | quote }}
REGION_KAFKA_USERNAME: {{ .Values.evaluation.enabled | ternary "admin" .Values.setup.kafka.username | quote }}
REGION_KAFKA_MECHANISM: {{ .Values.evaluation.enabled | ternary "PLAIN" .Values.setup.kafka.mechanism }}
REGION_MINIO_ENDPOINT: {{ include "imaging.minioEndpoint" . | quote }}
REGION_MINIO_SECURE: {{ and (not .Values.evaluation.enabled) .Values.objects.tls | quote }}
{{- if and (not .Values.evaluation.enabled) .Values.kafka.tls }}
REGION_KAFKA_TLS: "true"
{{- if .Values.kafka.caSecret }}
REGION_KAFKA_CA: /etc/imaging/kafka-ca/ca.crt
{{- end }}
{{- end }}
{{- with .Values.backup.recipients }}
REGION_BACKUP_RECIPIENTS: {{ join "," . | quote }}
{{- end }}
{{- with .Values.backup.s3.endpoint }}
REGION_BACKUP_S3_ENDPOINT: {{ . | quote }}
REGION_BACKUP_S3_SECURE: {{ $.Values.backup.s3.tls | quote }}
{{- end }}
{{- end -}}

{{/* (dict "root" . "name" "backup"): a container of theirs, to which `args` or `command` are added. */}}
{{- define "imaging.operateContainer" -}}
{{- $settings := include "imaging.settings.operate" .root | fromYaml -}}
- name: {{ .name }}
  image: {{ include "imaging.image" (list .root "operate") }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  {{- include "imaging.containerSecurity" (dict "writable" false) | nindent 2 }}
  env:
    {{- include "imaging.env" (merge (deepCopy .root.Values.operate.settings) $settings) | nindent 4 }}
  volumeMounts:
    - {name: tmp, mountPath: /tmp}
    - {name: secrets, mountPath: /run/secrets, readOnly: true}
    {{- if .root.Values.backup.claim }}
    - {name: backup, mountPath: /backup}
    {{- end }}
    {{- include "imaging.kafkaCaMount" .root | nindent 4 }}
{{- end -}}

{{- define "imaging.operateVolumes" -}}
- name: tmp
  emptyDir: {sizeLimit: 1Gi}
- name: secrets
  secret:
    secretName: {{ include "imaging.secret" (list . "operate") }}
    defaultMode: 0440
{{- with .Values.backup.claim }}
- name: backup
  persistentVolumeClaim:
    claimName: {{ . }}
{{- end }}
{{- include "imaging.kafkaCaVolume" . }}
{{- end -}}
