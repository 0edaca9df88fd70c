// Command informer checks that a typed informer and a dynamic informer of client-go get along
// with a server: both sync, then see a ConfigMap made, changed and deleted by a typed client.
// It prints one line for each event and ends with code 0 when all were seen.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: informer KUBECONFIG NAMESPACE json|protobuf")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(kubeconfig, namespace, form string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	dynamicClient, err := dynamic.NewForConfig(rest.CopyConfig(config))
	if err != nil {
		return err
	}
	if form == "protobuf" {
		config.ContentType = "application/vnd.kubernetes.protobuf"
		config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	events := make(chan string, 100)
	typed := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(namespace))
	if err := watch("typed", typed.Core().V1().ConfigMaps().Informer(), events); err != nil {
		return err
	}
	untyped := dynamicinformer.NewFilteredDynamicSharedInformerFactory(dynamicClient, 0, namespace, nil)
	resource := schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	if err := watch("dynamic", untyped.ForResource(resource).Informer(), events); err != nil {
		return err
	}
	typed.Start(ctx.Done())
	untyped.Start(ctx.Done())
	for kind, synced := range typed.WaitForCacheSync(ctx.Done()) {
		if !synced {
			return fmt.Errorf("the typed informer of %v did not sync", kind)
		}
	}
	for kind, synced := range untyped.WaitForCacheSync(ctx.Done()) {
		if !synced {
			return fmt.Errorf("the dynamic informer of %v did not sync", kind)
		}
	}
	fmt.Println("synced")
	return exercise(ctx, client, namespace, events)
}

func exercise(ctx context.Context, client kubernetes.Interface, namespace string, events <-chan string) error {
	maps := client.CoreV1().ConfigMaps(namespace)
	made, err := maps.Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "seen"},
		Data:       map[string]string{"step": "one"},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	if err := expect(ctx, events, "add seen one"); err != nil {
		return err
	}
	made.Data["step"] = "two"
	if _, err := maps.Update(ctx, made, metav1.UpdateOptions{}); err != nil {
		return err
	}
	if err := expect(ctx, events, "update seen two"); err != nil {
		return err
	}
	if err := maps.Delete(ctx, "seen", metav1.DeleteOptions{}); err != nil {
		return err
	}
	return expect(ctx, events, "delete seen two")
}

// expect waits until both informers have told the event.
func expect(ctx context.Context, events <-chan string, wanted string) error {
	missing := map[string]bool{"typed " + wanted: true, "dynamic " + wanted: true}
	for len(missing) > 0 {
		select {
		case event := <-events:
			if missing[event] {
				fmt.Println(event)
				delete(missing, event)
			}
		case <-ctx.Done():
			return fmt.Errorf("not seen: %v", missing)
		}
	}
	return nil
}

func watch(name string, informer cache.SharedIndexInformer, events chan<- string) error {
	tell := func(what string, obj any) {
		if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
			obj = gone.Obj
		}
		switch found := obj.(type) {
		case *corev1.ConfigMap:
			events <- fmt.Sprintf("%s %s %s %s", name, what, found.Name, found.Data["step"])
		case *unstructured.Unstructured:
			step, _, _ := unstructured.NestedString(found.Object, "data", "step")
			events <- fmt.Sprintf("%s %s %s %s", name, what, found.GetName(), step)
		}
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { tell("add", obj) },
		UpdateFunc: func(_, obj any) { tell("update", obj) },
		DeleteFunc: func(obj any) { tell("delete", obj) },
	})
	return err
}
