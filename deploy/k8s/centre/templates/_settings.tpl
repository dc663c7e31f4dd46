{{/*
What each service is told, as environment variables; secrets lie as files in /run/secrets.
(list root "gateway") gives YAML of variable: value. `services.<name>.settings` of the values wins.
*/}}

{{- define "imaging.settings" -}}
{{- $root := index . 0 -}}
{{- $service := index . 1 -}}
{{- $plan := index (include "imaging.plan" $root | fromYaml) $service -}}
{{- $prefix := $service | replace "-" "_" -}}
{{- $settings := dict
      "http_host" "0.0.0.0"
      "kafka_bootstrap" (include "imaging.kafkaBootstrap" $root)
      "kafka_username" $service
      "oidc_issuer" (include "imaging.oidcIssuer" $root)
      "oidc_audience" $root.Values.oidc.audience
      "oidc_user_claim" $root.Values.oidc.claims.user
      "oidc_roles_claim" $root.Values.oidc.claims.roles
      "oidc_hospital_claim" $root.Values.oidc.claims.hospital
      "otlp_endpoint" $root.Values.tracing.endpoint
      "log_level" $root.Values.logLevel
-}}
{{- if and (not $root.Values.evaluation.enabled) $root.Values.kafka.tls -}}
{{- $_ := set $settings "kafka_tls" true -}}
{{- if $root.Values.kafka.caSecret -}}
{{- $_ := set $settings "kafka_ca" "/etc/imaging/kafka-ca/ca.crt" -}}
{{- end -}}
{{- end -}}
{{- if has "objects" $plan.servers -}}
{{- $_ := set $settings "minio_endpoint" (include "imaging.minioEndpoint" $root) -}}
{{- $_ := set $settings "minio_secure" (and (not $root.Values.evaluation.enabled) $root.Values.objects.tls) -}}
{{- end -}}
{{- if $plan.directoryClient -}}
{{- $_ := set $settings "directory_client_id" $plan.directoryClient -}}
{{- end -}}
{{- if $plan.door -}}
{{- $_ := set $settings "tls_port" 8443 -}}
{{- $_ := set $settings "tls_cert" "/run/secrets/tls.pem" -}}
{{- $_ := set $settings "tls_key" "/run/secrets/tls.key" -}}
{{- $_ := set $settings "tls_ca" "/run/secrets/ca.pem" -}}
{{- end -}}
{{- $settings = merge (include (printf "imaging.settings.%s" $service) $root | fromYaml) $settings -}}
{{- $settings = merge (deepCopy (index $root.Values.services $service).settings) $settings -}}
{{- range $name, $value := $settings }}
{{ printf "%s_%s" $prefix $name | upper }}: {{ include "imaging.text" $value | quote }}
{{- end }}
{{- end -}}

{{/* A value as a variable has it: a text as it is, everything else as JSON (to Helm large numbers are floats: 4e+09). */}}
{{- define "imaging.text" -}}
{{- kindIs "string" . | ternary . (toJson .) -}}
{{- end -}}

{{- define "imaging.settings.gateway" -}}
public_url: {{ include "imaging.portalUrl" . | quote }}
oidc_client_id: {{ .Values.oidc.portalClient }}
consult_url: {{ include "imaging.url" (list . "consult") }}
notification_url: {{ include "imaging.url" (list . "notification") }}
audit_url: {{ include "imaging.url" (list . "audit") }}
ingest_url: {{ include "imaging.url" (list . "dicom-ingest") }}
time_zone: {{ .Values.region.timeZone }}
hospitals: {{ .Values.region.hospitals | toJson | quote }}
ehrs: {{ .Values.region.ehrs | toJson | quote }}
operations_kafka_username: operations
{{- if .Values.onboarding.enabled }}
onboarding_kafka_username: onboarding
onboarding_client_id: {{ .Values.onboarding.client }}
onboarding_ca_certificate: /run/secrets/authority.pem
onboarding_ca_key: /run/secrets/authority.key
onboarding_replication: {{ include "imaging.replication" . }}
edge_kafka_bootstrap: {{ include "imaging.edgeKafkaBootstrap" . | quote }}
edge_ingest_url: {{ include "imaging.doorUrl" (list . "dicom-ingest") | quote }}
edge_gateway_url: {{ include "imaging.doorUrl" (list . "gateway") | quote }}
{{- end }}
{{- end -}}

{{- define "imaging.settings.dicom-ingest" -}}
dicomweb_url: {{ include "imaging.portalUrl" . }}/dicomweb
scratch_dir: /tmp
{{- if .Values.dimse.enabled }}
dimse_host: "0.0.0.0"
dimse_port: 11112
dimse_tls: true
ae_title: {{ .Values.dimse.aeTitle }}
callers: {{ .Values.dimse.callers | quote }}
{{- end }}
{{- end -}}

{{- define "imaging.settings.object-writer" -}}
scratch_dir: /tmp
{{- end -}}

{{- define "imaging.settings.indexer" -}}
epoch: {{ .Values.region.indexEpoch }}
{{- end -}}

{{- define "imaging.settings.consult" -}}
dicomweb_url: {{ include "imaging.url" (list . "gateway") }}/dicomweb
portal_url: {{ include "imaging.portalUrl" . | quote }}
ingest_url: {{ include "imaging.url" (list . "dicom-ingest") }}
time_zone: {{ .Values.region.timeZone }}
{{- end -}}

{{- define "imaging.settings.notification" -}}
portal_url: {{ include "imaging.portalUrl" . | quote }}
organisations: {{ .Values.region.organisations | toJson | quote }}
time_zone: {{ .Values.region.timeZone }}
{{- if .Values.evaluation.enabled }}
smtp_host: {{ include "imaging.name" (list . "mailbox") }}
smtp_port: 2525
smtp_tls: none
sms_url: http://{{ include "imaging.name" (list . "mailbox") }}:8080/sms
webhook_http: true
{{- else }}
{{- with .Values.mail }}
smtp_host: {{ .host | quote }}
smtp_port: {{ .port }}
smtp_tls: {{ .tls }}
smtp_username: {{ .username | quote }}
mail_from: {{ .from | quote }}
sms_url: {{ .smsUrl | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "imaging.settings.audit" -}}
{}
{{- end -}}

{{/* Replicas of topics: the evaluation has one broker. */}}
{{- define "imaging.replication" -}}
{{- .Values.evaluation.enabled | ternary 1 (int .Values.kafka.replication) -}}
{{- end -}}
