{{/*
Secrets that the chart makes itself, for an evaluation. Each random value lives in one Secret, `<name>-generated`, which
an upgrade finds again and keeps; the services' Secrets are made from it.
*/}}

{{/* All random values, once per rendering: those of the cluster, else new ones. */}}
{{- define "imaging.generated" -}}
{{- if not (hasKey .Values "generated") -}}
{{- $found := dict -}}
{{- with lookup "v1" "Secret" .Release.Namespace (include "imaging.name" (list . "generated")) -}}
{{- range $name, $value := .data -}}
{{- $_ := set $found $name ($value | b64dec) -}}
{{- end -}}
{{- end -}}
{{- $_ := set .Values "generated" $found -}}
{{- end -}}
{{- end -}}

{{/* (list root "kafka-gateway"): one random value. */}}
{{- define "imaging.random" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- include "imaging.generated" $root -}}
{{- if not (hasKey $root.Values.generated $name) -}}
{{- $_ := set $root.Values.generated $name (randAlphaNum 40) -}}
{{- end -}}
{{- index $root.Values.generated $name -}}
{{- end -}}

{{/* (list root "gateway"): a service's files in /run/secrets, as YAML of name: value. */}}
{{- define "imaging.secretData" -}}
{{- $root := index . 0 -}}
{{- $service := index . 1 -}}
{{- $plan := index (include "imaging.plan" $root | fromYaml) $service -}}
{{- $prefix := $service | replace "-" "_" -}}
{{- $data := dict (printf "%s_kafka_password" $prefix) (include "imaging.random" (list $root (printf "kafka-%s" $service))) -}}
{{- if has "mongodb" $plan.servers -}}
{{- $_ := set $data (printf "%s_mongo_url" $prefix) (include "imaging.mongoUrl" (list $root $service)) -}}
{{- end -}}
{{- if has "objects" $plan.servers -}}
{{- $_ := set $data (printf "%s_minio_access_key" $prefix) $service -}}
{{- $_ := set $data (printf "%s_minio_secret_key" $prefix) (include "imaging.random" (list $root (printf "minio-%s" $service))) -}}
{{- end -}}
{{- with $plan.directoryClient -}}
{{- $_ := set $data (printf "%s_directory_client_secret" $prefix) (include "imaging.random" (list $root (printf "client-%s" .))) -}}
{{- end -}}
{{- if eq $service "gateway" -}}
{{- $_ := set $data "gateway_oidc_client_secret" (include "imaging.random" (list $root "client-portal")) -}}
{{- $_ := set $data "gateway_session_secret" (include "imaging.random" (list $root "session")) -}}
{{- $_ := set $data "gateway_operations_kafka_password" (include "imaging.random" (list $root "kafka-operations")) -}}
{{- $_ := set $data "gateway_onboarding_kafka_password" (include "imaging.random" (list $root "kafka-onboarding")) -}}
{{- $_ := set $data "gateway_onboarding_client_secret" (include "imaging.random" (list $root "client-onboarding")) -}}
{{- end -}}
{{- if $plan.door -}}
{{- include "imaging.certificates" . -}}
{{- $_ := set $data "tls.pem" (index $root.Values.generated (printf "door-%s.pem" $service)) -}}
{{- $_ := set $data "tls.key" (index $root.Values.generated (printf "door-%s.key" $service)) -}}
{{- $_ := set $data "ca.pem" (index $root.Values.generated "authority.pem") -}}
{{- end -}}
{{- if eq $service "gateway" -}}
{{- $_ := set $data "authority.pem" (index $root.Values.generated "authority.pem") -}}
{{- $_ := set $data "authority.key" (index $root.Values.generated "authority.key") -}}
{{- end -}}
{{- if eq $service "notification" -}}
{{- $_ := set $data "notification_webhook_seal" (include "imaging.random" (list $root "webhook-seal")) -}}
{{- $_ := set $data "notification_sms_token" (include "imaging.random" (list $root "sms")) -}}
{{- end -}}
{{- $data | toYaml -}}
{{- end -}}

{{/* (list root "indexer"): a MongoDB user's connection address. */}}
{{- define "imaging.mongoUrl" -}}
{{- $root := index . 0 -}}
{{- $user := index . 1 -}}
mongodb://{{ $user }}:{{ include "imaging.random" (list $root (printf "mongo-%s" $user)) }}@{{ include "imaging.mongoHosts" $root }}/?replicaSet={{ $root.Values.mongodb.replicaSet }}&authSource=admin
{{- end -}}

{{/* Kafka's users but its administrator, as YAML of principal: password. */}}
{{- define "imaging.kafkaUsers" -}}
{{- $users := dict -}}
{{- $names := concat (keys (include "imaging.plan" . | fromYaml)) (list "onboarding" "operations") -}}
{{- range (include "imaging.edges" . | fromJsonArray) }}{{ $names = append $names (printf "edge-%s" .) }}{{ end -}}
{{- range .Values.region.organisations }}{{ $names = append $names (printf "ehr-%s" .id) }}{{ end -}}
{{- $root := . -}}
{{- range $names -}}
{{- $_ := set $users . (include "imaging.random" (list $root (printf "kafka-%s" .))) -}}
{{- end -}}
{{- $users | toYaml -}}
{{- end -}}

{{/*
(list root "gateway"): makes sure of a door's certificate among the generated values: `door-gateway.pem`, `.key`, and of
the authority that signs it and the edge agents' certificates: `authority.pem`, `.key`.
*/}}
{{- define "imaging.certificates" -}}
{{- $root := index . 0 -}}
{{- $door := printf "door-%s" (index . 1) -}}
{{- include "imaging.generated" $root -}}
{{- $known := $root.Values.generated -}}
{{- if not (hasKey $known "authority.pem") -}}
{{- $made := genCAWithKey (printf "%s edge authority" $root.Release.Name) 3650 (genPrivateKey "ecdsa") -}}
{{- $_ := set $known "authority.pem" $made.Cert -}}
{{- $_ := set $known "authority.key" $made.Key -}}
{{- end -}}
{{- if not (hasKey $known (printf "%s.pem" $door)) -}}
{{- $authority := buildCustomCert (index $known "authority.pem" | b64enc) (index $known "authority.key" | b64enc) -}}
{{- $hosts := concat (list (include "imaging.name" .) (include "imaging.host" .)) (index $root.Values.doors (index . 1)).hosts -}}
{{- $made := genSignedCertWithKey (index . 1) nil $hosts 3650 $authority (genPrivateKey "ecdsa") -}}
{{- $_ := set $known (printf "%s.pem" $door) $made.Cert -}}
{{- $_ := set $known (printf "%s.key" $door) $made.Key -}}
{{- end -}}
{{- end -}}
